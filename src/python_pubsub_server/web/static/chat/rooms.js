import { arrange, byId, fill, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count } from "../page/text.js";

/** The rooms that one is in, with what is unread there, and the others that there are. */
export class RoomList {
  #rows = new Map();
  #choose;
  #leave;

  constructor(choose, leave) {
    this.#choose = choose;
    this.#leave = leave;
    byId("join").onsubmit = (event) => {
      event.preventDefault();
      const name = byId("join-room").value.trim();
      if (!name) return;
      byId("join-room").value = "";
      choose(name);
    };
  }

  /**
   * @param {{room: string, unread: number}[]} joined
   * @param {{room: string, users: number}[]} others
   */
  show(joined, others, current) {
    arrange(byId("rooms"), joined.map((each) => this.#joined(each, current)));
    arrange(byId("other-rooms"), others.map((each) => this.#other(each)));
    byId("other-rooms-part").hidden = others.length === 0;
    const unread = joined.reduce((sum, each) => sum + each.unread, 0);
    setText(byId("unread-all"), unread ? shortCount(unread) : "");
    const names = new Set([...joined, ...others].map(({ room }) => room));
    for (const room of this.#rows.keys()) if (!names.has(room.slice(2))) this.#rows.delete(room);
  }

  #joined({ room, unread }, current) {
    const row = this.#row(`j:${room}`, "room-template");
    const open = row.querySelector("[data-open]");
    fill(row, { room, unread: unread ? shortCount(unread) : "", words: unread ? say("unread") : "" });
    if (room === current) open.setAttribute("aria-current", "true");
    else open.removeAttribute("aria-current");
    open.onclick = () => this.#choose(room);
    const leave = row.querySelector("[data-leave]");
    leave.ariaLabel = say("Leave {room}", { room });
    leave.title = leave.ariaLabel;
    leave.onclick = () => this.#leave(room);
    return row;
  }

  #other({ room, users }) {
    const row = this.#row(`o:${room}`, "other-room-template");
    fill(row, { room, users: users ? say("{number} here", { number: count(users) }) : "" });
    row.querySelector("[data-open]").onclick = () => this.#choose(room);
    return row;
  }

  #row(key, template) {
    const row = this.#rows.get(key) ?? instantiate(template);
    this.#rows.set(key, row);
    return row;
  }
}

function shortCount(number) {
  return number > 99 ? "99+" : String(number);
}
