/** A server of a test's own, to be killed and started again, and a network that can be made bad. */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectTo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const SECRET = "a secret that only these tests know, 32 bytes";

/** A token as the server's owner would sign it. */
export function tokenOf(sub, seconds, claims = {}) {
  const now = Date.now() / 1000;
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, iat: now, exp: now + seconds, ...claims })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

export class OwnServer {
  #folder = mkdtempSync(join(tmpdir(), "pubsub-js-"));
  #process = null;
  #variables;
  port = 0;

  /** Starts one that listens on this machine and is gone with the test. */
  static async start(t, { hasTokens = false } = {}) {
    const server = new OwnServer();
    server.#variables = hasTokens ? { PUBSUB_JWT_SECRET: SECRET } : {};
    t.after(() => server.#remove());
    await server.start();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** On the same port and database as before. */
  async start() {
    const database = `--database-url=sqlite:///${join(this.#folder, "pubsub.db")}`;
    const mode = `--async-mode=${process.env.TEST_ASYNC_MODE ?? "eventlet"}`;
    const { PUBSUB_URL, ...variables } = { ...process.env, ...this.#variables }; // no setting
    const options = ["--host=127.0.0.1", `--port=${this.port}`, database, mode];
    this.#process = spawn(
      process.env.SERVER_PYTHON,
      ["-m", "python_pubsub_server.pubsub_ws", ...options],
      { cwd: this.#folder, env: variables, stdio: ["ignore", "ignore", "pipe"] },
    );
    const lines = [];
    await new Promise((resolve, reject) => {
      createInterface({ input: this.#process.stderr })
        .on("line", (line) => {
          lines.push(line);
          const found = /listening on http:\/\/\S+:(\d+)/.exec(line);
          if (!found) return;
          this.port = Number(found[1]);
          resolve();
        })
        .on("close", () => reject(new Error(`the server did not start:\n${lines.join("\n")}`)));
    });
  }

  /** Ends it as a crash would. */
  async kill() {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    this.#process = null;
  }

  async #remove() {
    if (this.#process) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A TCP relay that can be slow, swallow everything, or cut its connections. */
export class Network {
  #sockets = new Set();
  #server;
  delay = 0; // milliseconds for each piece, either way
  isMute = false; // nothing of the server's arrives any more

  static async to(t, server) {
    const network = new Network();
    network.#server = createServer((client) => network.#relay(client, server.port));
    network.#server.listen(0, "127.0.0.1");
    await once(network.#server, "listening");
    t.after(() => {
      network.#server.close();
      network.cut();
    });
    return network;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(client, port) {
    const target = connectTo(port, "127.0.0.1");
    this.#carry(client, target, false);
    this.#carry(target, client, true);
  }

  #carry(source, goal, isAnswer) {
    this.#sockets.add(source);
    source.on("data", (piece) => {
      if (isAnswer && this.isMute) return;
      // Equal delays keep the order.
      if (this.delay) setTimeout(() => goal.writable && goal.write(piece), this.delay);
      else goal.write(piece);
    });
    source.on("error", () => goal.destroy());
    source.on("close", () => {
      this.#sockets.delete(source);
      goal.destroy();
    });
  }
}
