import { arrange, byId, fill, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count } from "../page/text.js";
import { showName } from "./people.js";
import { dayOf, showTimeOfDay } from "./times.js";

const NEAR = 120; // pixels from an end of the list that count as there
const TOGETHER_SECONDS = 300;

/** What is said in the room: it stays at its end if it was there, and asks for more at its top. */
export class Conversation {
  #scroller = byId("messages");
  #list = byId("lines");
  #stays = true; // at the end, whatever comes
  #rows = new Map(); // by key, for the room that is shown
  #room = null;
  #seen = 0;
  #onOlder;
  #onRead;
  #onAction;

  /**
   * @param {{older: () => void, read: () => void, discard: (id: string) => void,
   *   again: (id: string) => void}} on
   */
  constructor({ older, read, discard, again }) {
    this.#onOlder = older;
    this.#onRead = read;
    this.#onAction = { discard, again };
    this.#scroller.onscroll = () => {
      this.#stays = this.isAtEnd;
      byId("to-end").hidden = this.#stays;
      if (this.#scroller.scrollTop < NEAR) this.#onOlder();
      if (this.#stays) this.#onRead();
    };
    new ResizeObserver(() => this.#stays && this.#toEnd()).observe(this.#scroller);
    byId("to-end").onclick = () => this.#toEnd();
  }

  /** Whether the newest message is in sight. */
  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  show(room, log, own) {
    const list = this.#list;
    const scroller = this.#scroller;
    const isOther = room !== this.#room;
    if (isOther) this.#open(room);
    const top = list.querySelector("[data-sequence]");
    const before = top?.offsetTop;
    scroller.ariaBusy = String(isOther); // the past of a room is not read out
    const keys = new Set();
    arrange(list, this.#lines(log).map((line, index, all) => this.#row(line, all[index - 1], own, keys)));
    for (const key of this.#rows.keys()) if (!keys.has(key)) this.#rows.delete(key);
    if (this.#stays) this.#toEnd();
    else if (top?.isConnected) scroller.scrollTop += top.offsetTop - before;
    scroller.ariaBusy = "false";
    byId("nothing-said").hidden = list.children.length > 0;
    this.#showNew(log, own);
    if (scroller.scrollHeight <= scroller.clientHeight) this.#onOlder();
  }

  /** How many came while one read further up. */
  #showNew(log, own) {
    if (this.#stays) this.#seen = log.last ?? 0;
    const fresh = log.countAfter(this.#seen, own);
    byId("to-end").hidden = this.#stays;
    setText(byId("to-end-text"), fresh ? say("{number} new", { number: count(fresh) }) : say("To the newest"));
  }

  #open(room) {
    this.#room = room;
    this.#stays = true;
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  #toEnd() {
    this.#stays = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    byId("to-end").hidden = true;
    this.#onRead();
  }

  /** Messages, what the system said between them, then what is not sent yet. */
  #lines(log) {
    const lines = [];
    const notices = [...log.notices];
    const take = (sequence) => {
      while (notices.length && notices[0].after < sequence) lines.push(noticeLine(notices.shift()));
    };
    for (const message of log.messages) {
      take(message.sequence);
      lines.push({ ...message, kind: "message", key: `m${message.sequence}` });
    }
    take(Infinity);
    return [...lines, ...log.pending.map((each) => ({ ...each, kind: "pending", key: `p${each.id}` }))];
  }

  #row(line, previous, own, keys) {
    keys.add(line.key);
    const made = this.#rows.get(line.key);
    const row = made ?? instantiate(`${line.kind}-template`);
    this.#rows.set(line.key, row);
    if (line.kind === "message") fillMessage(row, line, previous, own, !made);
    else if (line.kind === "pending") this.#fillPending(row, line);
    else if (!made) {
      fill(row, { text: line.text });
      showTimeOfDay(row.querySelector("time"), line.timestamp);
    }
    return row;
  }

  #fillPending(row, { id, content, state, reason }) {
    row.dataset.state = state;
    const words = { waiting: "Waiting for the connection", sent: "Sending…", failed: "Not sent: {reason}" };
    fill(row, { content, state: say(words[state], { reason }) });
    for (const action of ["again", "discard"]) {
      const button = row.querySelector(`[data-${action}]`);
      button.hidden = state !== "failed";
      button.onclick = () => this.#onAction[action](id);
    }
  }
}

function noticeLine(notice) {
  return { ...notice, text: worded(notice.text), kind: "notice", key: `n${notice.timestamp} ${notice.text}` };
}

/** What the server says of a room, in the reader's language. */
function worded(text) {
  const [, user, verb] = /^(.+) (joined|left) the room$/s.exec(text) ?? [];
  if (verb === "joined") return say("{user} joined the room", { user });
  return verb === "left" ? say("{user} left the room", { user }) : text;
}

function fillMessage(row, message, previous, own, isNew) {
  const day = new Date(message.timestamp * 1000).toDateString();
  const isNewDay = !previous?.timestamp || new Date(previous.timestamp * 1000).toDateString() !== day;
  row.dataset.isFirst = String(
    isNewDay ||
      previous.kind !== "message" ||
      previous.user !== message.user ||
      message.timestamp - previous.timestamp > TOGETHER_SECONDS,
  );
  fill(row, { day: isNewDay ? dayOf(message.timestamp) : "" });
  if (!isNew) return;
  row.dataset.sequence = message.sequence;
  row.dataset.isOwn = String(message.user === own);
  fill(row, { content: message.content, sequence: `#${count(message.sequence)}` });
  showName(row, message.user);
  showTimeOfDay(row.querySelector("time"), message.timestamp);
}
