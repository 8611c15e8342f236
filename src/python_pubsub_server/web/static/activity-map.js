/** Topics and time as a heat map, live. */
import { Rows } from "./activity/rows.js";
import * as access from "./page/access.js";
import { byId, setText } from "./page/dom.js";
import { getJSON } from "./page/http.js";
import { language, say } from "./page/language.js";
import { watch } from "./page/monitoring.js";
import { openShell } from "./page/shell.js";
import { finder } from "./page/topics.js";
import { PubSubClient } from "./pubsub-client.js";

const REFRESH_SECONDS = { minute: 1, hour: 3, day: 10 };

const client = new PubSubClient(location.origin, { auth: access.handshake });
openShell(client);

const rows = new Rows((text) => setText(byId("activity-cell"), text));
let report = null;
let isReading = false;
let ticks = 0;

function chosenWindow() {
  return document.querySelector("[name=window]:checked").value;
}

async function read() {
  if (isReading) return;
  isReading = true;
  const wanted = chosenWindow();
  try {
    const { rows: answer } = await getJSON(`/graph/activity?window=${wanted}`);
    report = answer;
    fail(null);
    show();
  } catch (error) {
    fail(error);
  } finally {
    isReading = false;
  }
  if (wanted !== chosenWindow()) read();
}

function show() {
  if (!report) return;
  const shown = rows.show(report, finder(byId("filter").value));
  byId("activity-empty").hidden = report.topics.length > 0;
  byId("activity-nothing-found").hidden = shown > 0 || report.topics.length === 0;
  byId("activity-axis").hidden = shown === 0;
  const slots = report.others.length;
  const marks = [...byId("activity-axis").children];
  marks.forEach((element, index) => {
    const passed = (index / (marks.length - 1)) * slots * report.step;
    const at = new Date((report.from + passed) * 1000);
    element.dateTime = at.toISOString();
    setText(element, at.toLocaleTimeString(language, { hour12: false }));
  });
}

function fail(error) {
  const reason = error && `${error.message} (${error.code})`;
  setText(byId("activity-error"), error ? say("Not up to date: {reason}", { reason }) : "");
}

/** The server's seconds are the page's: it stands still while there is no connection. */
function tick() {
  ticks += 1;
  if (!document.hidden && ticks % REFRESH_SECONDS[chosenWindow()] === 0) read();
}

watch(client, { connect: read, stats: tick }, fail);
byId("windows").onchange = () => access.standing.mayWatch && read();
byId("filter").oninput = show;
document.addEventListener("visibilitychange", () => document.hidden || !access.standing.mayWatch || read());
byId("theme").addEventListener("change", () => rows.draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => rows.draw());
