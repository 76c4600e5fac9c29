"""Where in a file an array lies: one module for each format."""
