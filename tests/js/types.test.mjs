import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

import * as client from "../../src/python_pubsub_server/web/static/pubsub-client.js";

const STATIC = new URL("../../src/python_pubsub_server/web/static/", import.meta.url);
const declarations = readFileSync(new URL("pubsub-client.d.ts", STATIC), "utf8");

test("the compiler takes what is right and refuses what is wrong", () => {
  const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [compiler, "--project", "."], { cwd: import.meta.dirname });
  } catch (error) {
    assert.fail(String(error.stdout));
  }
});

/** The members that a declared class has, by name. */
function declared(name) {
  const body = new RegExp(`export class ${name} [^{]*\\{(.*?)\\n\\}`, "s").exec(declarations)[1];
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[(<:]/gm)].map(([, member]) => member);
  return members.filter((member) => member !== "constructor");
}

test("every public thing has a type, and nothing else has", () => {
  assert.deepEqual(
    [...declarations.matchAll(/^export class (\w+)/gm)].map(([, name]) => name).sort(),
    Object.keys(client).sort(),
  );
  const sources = ["pubsub-client.js", "client/channel.js", "client/namespace.js"];
  for (const [index, name] of ["PubSubClient", "Channel", "Namespace"].entries()) {
    const source = readFileSync(new URL(sources[index], STATIC), "utf8");
    const body = new RegExp(`export class ${name} [^{]*\\{(.*?)\\n\\}`, "s").exec(source)[1];
    const isInternal = /\/\*\* @internal[^\n]*\n {2}(?:async )?(\w+)/g;
    const hidden = new Set(["constructor", ...[...body.matchAll(isInternal)].map(([, member]) => member)]);
    const members = body.matchAll(/^ {2}(?:async |get )?([a-z]\w*)(?:\(|;| =)/gm);
    const known = new Set([...members].map(([, member]) => member).filter((m) => !hidden.has(m)));
    assert.deepEqual(declared(name).sort(), [...known].sort(), name);
  }
});
