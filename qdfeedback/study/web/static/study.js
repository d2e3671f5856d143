"use strict";

// The pages work without this file; with it, answers have keys and response times, and animations can be paused.
(() => {
  const form = document.querySelector("form[data-trial]");
  if (form) {
    const shown = { at: performance.now() };
    const pictures = [...form.querySelectorAll("img")].filter((picture) => !picture.complete);
    Promise.all(
      pictures.map((picture) => new Promise((ready) => { picture.onload = picture.onerror = ready; })),
    ).then(() => { if (pictures.length) shown.at = performance.now(); });

    let sent = false;
    form.addEventListener("submit", (event) => {
      if (sent) { event.preventDefault(); return; }
      sent = true;
      form.elements.ms.value = Math.round(performance.now() - shown.at);
      for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
    });
    window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

    document.addEventListener("keydown", (event) => {
      if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || sent) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const button = [...form.querySelectorAll("button[data-key]")].find((one) => one.dataset.key === key);
      if (button) { event.preventDefault(); form.requestSubmit(button); }
    });
  }

  const next = document.querySelector("[data-next]");
  if (next) {
    document.addEventListener("keydown", (event) => {
      if (!event.repeat && event.key === "ArrowRight") next.click();
    });
  }

  const moving = [...document.querySelectorAll("picture[data-moving]")];
  const toggle = document.querySelector("button[data-pause]");
  if (toggle && moving.length) {
    let plays = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    const show = () => {
      for (const picture of moving) {
        picture.querySelector("source")?.remove();
        const image = picture.querySelector("img");
        image.src = plays ? picture.dataset.moving : picture.dataset.still;
      }
      toggle.textContent = plays ? "Pause the animations" : "Play the animations";
    };
    toggle.hidden = false;
    toggle.textContent = plays ? "Pause the animations" : "Play the animations";
    toggle.addEventListener("click", () => { plays = !plays; show(); });
  }
})();
