// One study as a jsPsych page: who it is, in which order, on which sides, and where the answers go.
"use strict";

const study = window.STUDY;
const address = new URLSearchParams(location.search);
const simulate = address.get("simulate");
const here = `qdfeedback/${study.study_id}/${study.version}`;
const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]);

// --- what is kept in the browser, so that a reload goes on

const memory = {};
function remember(key, value) {
  memory[key] = value;
  try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* a browser that keeps nothing: no resuming */ }
}
function recall(key) {
  try { return JSON.parse(localStorage.getItem(key)) ?? memory[key] ?? null; } catch { return memory[key] ?? null; }
}

// --- a person: a hash of the platform's id, else random. The id itself is kept nowhere.

const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
async function pseudonym() {
  const platform = address.get("PROLIFIC_PID") ?? address.get("workerId") ?? "";
  if (platform && window.crypto.subtle) {
    const bytes = new TextEncoder().encode([study.study_id, study.seed, platform].join("|"));
    return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 8));
  }
  const known = recall(`${here}/rater`) ?? hex(crypto.getRandomValues(new Uint8Array(8)));
  remember(`${here}/rater`, known);
  return known;
}

// --- the order: as on the study page, sides balanced, catch trials spread, repeats late and the other way round

function numbers(text) {
  let state = 2166136261;
  for (const c of text) state = Math.imul(state ^ c.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function shuffled(list, random) {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}
const sides = (n, random) => shuffled(Array.from({ length: n }, (_, i) => i % 2 === 0), random);

// a person's own seed is thrown, not made from who they are: order and sides tell nobody afterwards whose answers they are
function plan(seed, filtered) {
  const random = numbers([study.seed, study.study_id, seed].join("|"));
  const asked = study.trials.filter((t) => !(filtered && t.sensitive));
  const pool = (kind, n) => shuffled(asked.filter((t) => t.kind === kind), random).slice(0, n);
  const pools = { main: pool("main", study.trials_per_rater), catch: pool("catch", study.catch_per_rater) };
  const repeats = Math.round(study.repeats * pools.main.length);
  const total = pools.main.length + pools.catch.length + repeats;
  const kinds = Array(total).fill("main");
  const edge = (i) => Math.floor((i * total) / pools.catch.length);
  for (let i = 0; i < pools.catch.length; i++)
    kinds[edge(i) + Math.floor(random() * (edge(i + 1) - edge(i)))] = "catch";
  for (let place = total - 1, left = repeats; left > 0; place--)
    if (kinds[place] === "main") { kinds[place] = "repeat"; left--; }
  const swapped = { main: sides(pools.main.length, random), catch: sides(pools.catch.length, random) };
  const slots = [], originals = [];
  kinds.forEach((kind, place) => {
    if (kind === "repeat") {
      const early = originals.filter((o) => o <= place - study.repeat_gap - 1);
      const original = early.length ? early[Math.floor(random() * early.length)] : originals[0];
      originals.splice(originals.indexOf(original), 1);
      slots.push({ trial: slots[original].trial, kind, swapped: !slots[original].swapped, position: place });
    } else {
      if (kind === "main") originals.push(place);
      slots.push({ trial: pools[kind].pop(), kind, swapped: swapped[kind].pop(), position: place });
    }
  });
  const practice = asked.filter((t) => t.kind === "practice").slice(0, study.practice);
  return [...practice.map((trial, i) => ({ trial, kind: "practice", swapped: i % 2 === 1, position: -1 - i })), ...slots];
}

// --- one trial

const show = (item) => `<span class="things">${study.items[item].map((part) => "text" in part
  ? `<span class="text">${escaped(part.text)}</span>` : `<img src="${escaped(part.image)}" alt="">`).join("")}</span>`;
const words = (text) => `<div class="words">${escaped(text)}</div>`;

function buttons(question, left, right) {
  const two = question.task === "triplet" || question.task === "pair";
  const label = (option, i) => {
    const end = question.task !== "rating" ? "" : i === 0 ? question.ends[0] : i === question.options.length - 1 ? question.ends[1] : "";
    return escaped(option) + (end ? `<br><small>${escaped(end)}</small>` : "");
  };
  const found = two
    ? [["left", show(left), "ArrowLeft", "←"], ["right", show(right), "ArrowRight", "→"]]
    : question.options.map((option, i) => [option, label(option, i), i < 9 ? String(i + 1) : "", i < 9 ? String(i + 1) : ""]);
  if (two && question.tie) found.push(["tie", "no difference", "ArrowDown", "↓"]);
  if (study.skip) found.push(["skip", "skip", "s", "s"]);
  return found.map(([choice, html, key, name]) => ({ choice, html, key, name }));
}

function onKeys(given) {
  const press = (event) => {
    const i = given.findIndex((button) => button.key === event.key);
    if (i >= 0 && !event.repeat) document.querySelectorAll("#jspsych-html-button-response-btngroup button")[i]?.click();
  };
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}

function trial(slot, rater, before) {
  const asked = slot.trial, question = study.questions[asked.question];
  const swapped = slot.swapped && asked.b_id !== null;
  const [left, right] = swapped ? [asked.b_id, asked.a_id] : [asked.a_id, asked.b_id];
  const given = buttons(question, left, right);
  const single = asked.b_id === null ? show(left) : "";
  const reference = asked.anchor_id === null ? "" : `<div class="reference">${show(asked.anchor_id)}</div>`;
  let shown = null, release = () => {};
  return {
    type: jsPsychHtmlButtonResponse,
    stimulus: `<p>${escaped(question.text)}</p>${reference}${single}`,
    choices: given.map((button) => button.html),
    button_html: (html, i) => `<button class="jspsych-btn">${html} <kbd>${given[i].name}</kbd></button>`,
    button_layout: "flex",
    save_trial_parameters: { stimulus: false },
    data: () => ({
      schema_version: study.schema_version, study_id: study.study_id, rater_id: rater, trial_id: asked.trial_id,
      kind: slot.kind, question: asked.question, position: slot.position, ref_id: asked.anchor_id, left_id: left,
      right_id: right, simulated: simulate !== null, consent_sha256: study.consent_sha256, consent_utc: before.consent_utc,
    }),
    on_load: () => { shown = new Date().toISOString(); release = onKeys(given); },
    on_finish: (data) => {
      release();
      data.choice = given[data.response].choice;
      data.correct = asked.expected === null ? null : asked.expected === ({ left, right }[data.choice] ?? data.choice);
      data.t_shown_utc = shown;
      data.t_answered_utc = new Date().toISOString();
    },
  };
}

const verdict = (correct) => correct === null ? "Here every answer is right."
  : correct ? "That is right." : "Look again: another answer was meant.";
const page = (stimulus, ...choices) => ({ type: jsPsychHtmlButtonResponse, stimulus, choices, save_trial_parameters: { stimulus: false } });

// --- from beginning to end

function timeline(jsPsych, rater, state) {
  const answered = new Set(state.answers.map((row) => `${row.kind}|${row.trial_id}`));
  const open = (filtered) => plan(state.seed, filtered).filter((slot) => !answered.has(`${slot.kind}|${slot.trial.trial_id}`));
  const images = [...new Set(Object.values(study.items).flat().map((part) => part.image).filter(Boolean))];
  const pages = [], marked = study.trials.some((t) => t.sensitive);
  if (state.consent_utc === null) {
    const kept = study.retention ? `\n\nThe data are kept until ${study.retention}.` : "";
    pages.push({
      ...page(`<h2>${escaped(study.title)}</h2>${words(study.consent + kept)}`, "I agree", "I do not agree"),
      simulation_options: { data: { response: 0 } },
      on_finish: (data) => {
        if (data.response !== 0) jsPsych.abortExperiment("Thank you. Nothing was stored; you can close this page.");
        else { state.consent_utc = new Date().toISOString(); remember(`${here}/${rater}`, state); }
      },
    });
    pages.push(page(words(study.instructions), "Begin"));
    if (study.sensitive) pages.push({
      ...page(words(study.sensitive), "Go on", ...(marked ? ["Go on without such things"] : [])),
      simulation_options: { data: { response: 0 } },
      on_finish: (data) => {
        state.filtered = data.response === 1;
        remember(`${here}/${rater}`, state);
      },
    });
  }
  if (images.length) pages.push({ type: jsPsychPreload, images, message: "Loading …", continue_after_error: false });
  const asking = (slots) => slots.flatMap((slot) => slot.kind !== "practice" ? [trial(slot, rater, state)]
    : [trial(slot, rater, state), page(() => `<p>${verdict(jsPsych.data.getLastTrialData().values()[0].correct)}</p>`, "Go on")]);
  if (!marked) return [...pages, ...asking(open(false))];
  return [...pages, ...[false, true].map((filtered) => (
    { timeline: asking(open(filtered)), conditional_function: () => state.filtered === filtered }))];
}

function download(rows) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(rows)], { type: "application/json" }));
  link.download = `${study.study_id.replace(/[^A-Za-z0-9_-]/g, "_")}-${rows[0]?.rater_id ?? "nobody"}.json`;
  link.click();
}

async function send(rows) {
  const body = { experimentID: study.datapipe, filename: `${rows[0].rater_id}-${Date.now()}.json`, data: JSON.stringify(rows) };
  const headers = { "Content-Type": "application/json", Accept: "*/*" };
  const answer = await fetch("https://pipe.jspsych.org/api/data/", { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`the answers could not be sent (${answer.status})`);
}

async function finish(rater, state) {
  let problem = "", sent = state.sent;
  if (study.datapipe && !sent && simulate === null) {
    try { await send(state.answers); sent = true; } catch (error) { problem = String(error.message); }
  }
  remember(`${here}/${rater}`, { ...state, sent, answers: sent ? [] : state.answers, done: true });
  const code = study.completion_code;
  const target = study.completion_url ? study.completion_url.replaceAll("{code}", encodeURIComponent(code))
    : code && address.has("PROLIFIC_PID") ? `https://app.prolific.com/submissions/complete?cc=${encodeURIComponent(code)}` : "";
  document.body.innerHTML = `<div class="jspsych-content"><h2>Thank you</h2>${problem ? words(`${problem}. Please download them.`) : ""}
    ${sent ? "" : '<p><button class="jspsych-btn" id="save">Download the answers</button></p>'}
    ${code ? `<p>Your code: <strong>${escaped(code)}</strong></p>` : ""}${/^https?:/.test(target)
      ? `<p><a href="${escaped(target)}">Finish</a></p>` : ""}<pre id="answers" hidden></pre></div>`;
  if (simulate !== null) document.getElementById("answers").textContent = JSON.stringify(state.answers);
  document.getElementById("save")?.addEventListener("click", () => download(state.answers));
  if (!sent && !state.done && simulate === null) download(state.answers);
}

async function begin() {
  const rater = await pseudonym();
  const key = `${here}/${rater}`;
  const fresh = { seed: hex(crypto.getRandomValues(new Uint8Array(8))), filtered: false };
  const state = { ...fresh, consent_utc: null, answers: [], sent: false, done: false, ...recall(key) };
  remember(key, state);
  if (state.done) return finish(rater, state);
  const jsPsych = initJsPsych({
    show_progress_bar: true,
    on_data_update: (row) => {
      if (row.trial_id === undefined) return;
      state.answers.push(row);
      remember(key, state);
    },
    on_finish: () => { if (state.consent_utc !== null) finish(rater, state); },
  });
  const pages = timeline(jsPsych, rater, state);
  if (simulate === null) await jsPsych.run(pages);
  else await jsPsych.simulate(pages, simulate === "visual" ? "visual" : "data-only");
}

begin();
