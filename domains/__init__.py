"""What can be searched, one folder each; they stand beside the package, which knows none of them."""
