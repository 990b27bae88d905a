#!/usr/bin/env node
// Turns Markdown into HTML: the files that are named, or standard input.

import { readFileSync } from "node:fs";
import { marked } from "marked";

const files = process.argv.slice(2);
for (const file of files.length ? files : ["/dev/stdin"]) {
  process.stdout.write(marked.parse(readFileSync(file, "utf8")));
}
