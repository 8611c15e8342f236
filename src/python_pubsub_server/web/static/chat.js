/** The chat page: puts its parts together. Each part looks after one piece of the page. */
import { Conversation } from "./chat/conversation.js";
import { addressOf, chooseName, ownName } from "./chat/name.js";
import { People } from "./chat/people.js";
import { RoomList } from "./chat/rooms.js";
import { ChatSession } from "./chat/session.js";
import { Stored } from "./chat/stored.js";
import { systemClock } from "./client/platform.js";
import * as access from "./page/access.js";
import { byId, setText } from "./page/dom.js";
import { say } from "./page/language.js";
import { openShell } from "./page/shell.js";
import { PubSubClient } from "./pubsub-client.js";

const FIRST_ROOM = "general";
const AWAY_MS = 5 * 60_000; // out of sight
const LONGEST = 10_240;
const ROOMS_MS = 15_000;

const client = new PubSubClient(addressOf(ownName()), { auth: access.handshake });
openShell(client);

const outbox = new Stored(sessionStorage, "pubsub-chat-outbox", {});
const read = new Stored(localStorage, "pubsub-chat-read", {}); // room → sequence
const wanted = new Stored(localStorage, "pubsub-chat-rooms", [FIRST_ROOM]);
const session = new ChatSession(client.namespace("/chat"), outbox, systemClock);

let current = null;
let others = [];
let isDrawing = false;
const pageTitle = document.title;

const people = new People();
const rooms = new RoomList(open, leave);
const conversation = new Conversation({
  older: () => session.askOlder(current),
  read: markRead,
  discard: (id) => session.discard(current, id),
  again: (id) => {
    const { content } = session.log(current).pending.find((each) => each.id === id);
    session.discard(current, id);
    session.send(current, content);
  },
});

function open(room) {
  session.join(room);
  wanted.save(session.rooms);
  current = room;
  if (roomInAddress() !== room) location.hash = encodeURIComponent(room);
  show("talk");
  byId("write-text").setAttribute("aria-label", say("Message to {room}", { room }));
  draw();
  if (matchMedia("(min-width: 901px)").matches) byId("write-text").focus();
}

function leave(room) {
  session.leave(room);
  wanted.save(session.rooms);
  session.askRooms();
  if (room === current) open(session.rooms[0] ?? FIRST_ROOM);
  else draw();
}

function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Draws what there is, once for all that changes at one time. */
function draw() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    const log = session.log(current);
    setText(byId("room-name"), current);
    conversation.show(current, log, session.user);
    people.show(log.users, session.user);
    showTypists();
    showRooms();
  });
}

function showRooms() {
  const joined = session.rooms.map((room) => ({ room, unread: unreadIn(room) }));
  rooms.show(
    joined,
    others.filter(({ room }) => !session.log(room)),
    current,
  );
  const unread = joined.reduce((sum, each) => sum + each.unread, 0);
  document.title = unread ? `(${unread}) ${pageTitle}` : pageTitle;
}

function unreadIn(room) {
  const seen = read.load()[room];
  return seen === undefined ? 0 : session.log(room).countAfter(seen, session.user);
}

function markRead() {
  const last = session.log(current)?.last;
  if (document.hidden || !last) return;
  const seen = read.load();
  if ((seen[current] ?? 0) >= last) return;
  read.save({ ...seen, [current]: last });
  showRooms();
}

function showTypists() {
  const users = session.typists(current);
  const text =
    users.length === 0
      ? ""
      : users.length < 4
        ? say(users.length === 1 ? "{users} is typing…" : "{users} are typing…", { users: users.join(", ") })
        : say("Several people are typing…");
  setText(byId("typing"), text);
}

/** On a phone one part of the page is in sight. */
function show(pane) {
  byId("chat").dataset.pane = pane;
  for (const name of ["rooms", "people"]) {
    byId(`${name}-button`).setAttribute("aria-expanded", String(pane === name));
  }
}

function complain(text) {
  setText(byId("chat-problem"), text);
}

session.on("change", (room) => {
  // What was said before one first came is not unread.
  const isNew = session.isLive(room) && read.load()[room] === undefined;
  if (isNew) read.save({ ...read.load(), [room]: session.log(room).last ?? 0 });
  if (room === current) draw();
  else showRooms();
});
session.on("said", (room) => {
  if (room === current && conversation.isAtEnd) markRead();
});
session.on("rooms", (found) => {
  others = found;
  showRooms();
});
session.on("user", (user) => {
  setText(byId("own-name"), user);
  byId("name").hidden = true;
  byId("name-change").hidden = access.token() !== null;
  complain("");
  draw();
});
session.on("problem", (error) => {
  if (access.isRefusal(error)) return; // the shell asks for another token
  complain(error.message);
  if (session.user === null) byId("name").hidden = false;
});
client.on("error", (error) => access.isRefusal(error) || complain(error.message));
client.on("state", ({ name }) => {
  byId("lost").hidden = name === "connected" || name === "connecting";
  if (name === "connected") complain("");
});

const text = byId("write-text");
byId("write").onsubmit = (event) => {
  event.preventDefault();
  const content = text.value.trim();
  if (!content) return;
  if (new TextEncoder().encode(content).length > LONGEST) {
    complain(say("This is too long: 10 KB fit into one message."));
    return;
  }
  complain("");
  session.send(current, content);
  text.value = "";
  text.style.height = "";
};
text.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("write").requestSubmit();
};
text.oninput = () => {
  text.style.height = "";
  text.style.height = `${Math.min(text.scrollHeight + 2, 180)}px`;
  if (text.value.trim()) session.type(current);
};

for (const name of ["rooms", "people"]) {
  byId(`${name}-button`).onclick = () => show(byId("chat").dataset.pane === name ? "talk" : name);
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") show("talk");
});
byId("name-change").onclick = () => {
  byId("name").hidden = !byId("name").hidden;
  byId("name-text").focus();
};
byId("name").onsubmit = (event) => {
  event.preventDefault();
  const name = byId("name-text").value.trim();
  if (!name) return;
  chooseName(name);
  if (location.search) location.replace(location.pathname + location.hash);
  else location.reload();
};
byId("away").onclick = () => setAway(!session.isAway);

function setAway(isAway) {
  session.setAway(isAway);
  byId("away").setAttribute("aria-pressed", String(isAway));
}

let awayTimer;
let isAwayByItself = false;
document.addEventListener("visibilitychange", () => {
  clearTimeout(awayTimer);
  if (document.hidden) {
    awayTimer = setTimeout(() => {
      isAwayByItself = !session.isAway;
      setAway(true);
    }, AWAY_MS);
    return;
  }
  if (isAwayByItself) setAway(false);
  isAwayByItself = false;
  markRead();
});
addEventListener("hashchange", () => {
  const room = roomInAddress();
  if (room && room !== current) open(room);
});
setInterval(() => {
  if (!document.hidden) session.askRooms();
}, ROOMS_MS);

for (const room of wanted.load()) session.join(room);
open(roomInAddress() || session.rooms[0] || FIRST_ROOM);
