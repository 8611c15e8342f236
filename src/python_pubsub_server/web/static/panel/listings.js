import { byId } from "../page/dom.js";
import { Listing } from "./listing.js";

const REFRESH_MS = 2_000;
const SOON_MS = 100; // one reading for many changes
const PAGE = 25;

const topic = { title: "Topic", kind: "name", value: (row) => row.topic };
const consumer = { title: "Consumer", kind: "name", value: (row) => row.consumer };
const payload = { title: "Message", kind: "payload", value: (row) => row.message };

const SOURCES = [
  {
    name: "topics",
    title: "Topics",
    url: "/topics",
    key: (row) => row.topic,
    columns: [
      topic,
      { title: "Messages", kind: "number", value: (row) => row.messages },
      { title: "Last #", kind: "number", value: (row) => row.sequence },
      { title: "Producers", kind: "number", value: (row) => row.producers },
      { title: "Subscribers", kind: "number", value: (row) => row.subscribers },
      { title: "Last message", kind: "time", value: (row) => row.last_published_at },
    ],
    onRows: offerTopics,
  },
  {
    name: "clients",
    title: "Subscribers",
    url: "/clients",
    key: (row) => `${row.consumer}\n${row.topic}\n${row.connected_at}`,
    columns: [
      consumer,
      topic,
      { title: "Since", kind: "time", value: (row) => row.connected_at },
    ],
  },
  {
    name: "messages",
    title: "Messages",
    url: `/messages?limit=${PAGE}`,
    isPaged: true,
    key: (row) => `${row.topic}\n${row.sequence}`,
    columns: [
      { title: "Published", kind: "time", value: (row) => row.timestamp },
      topic,
      { title: "#", kind: "number", value: (row) => row.sequence },
      { title: "Producer", kind: "name", value: (row) => row.producer },
      payload,
    ],
  },
  {
    name: "consumptions",
    title: "Confirmed",
    url: `/consumptions?limit=${PAGE}`,
    isPaged: true,
    key: (row) => `${row.consumer}\n${row.topic}\n${row.message_id}\n${row.timestamp}`,
    columns: [
      { title: "Confirmed", kind: "time", value: (row) => row.timestamp },
      consumer,
      topic,
      { title: "Message id", kind: "id", value: (row) => row.message_id },
      payload,
    ],
  },
];

/**
 * Shows the tables and keeps them fresh while the page is visible.
 * @returns {() => void} refreshes soon, for when it is known that something changed
 */
export function showListings(onError) {
  const listings = SOURCES.map((source) => new Listing({ ...source, onError }));
  const refresh = () => {
    if (!document.hidden) for (const listing of listings) listing.refresh();
  };
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, REFRESH_MS);
  refresh();
  let planned = 0;
  return () => {
    clearTimeout(planned);
    planned = setTimeout(refresh, SOON_MS);
  };
}

/** Offers the topics that exist in the forms. */
function offerTopics(rows) {
  const names = rows.slice(0, 200).map((row) => row.topic);
  const list = byId("known-topics");
  if ([...list.children].map((option) => option.value).join("\n") === names.join("\n")) return;
  const option = (value) => Object.assign(document.createElement("option"), { value });
  list.replaceChildren(...names.map(option));
}
