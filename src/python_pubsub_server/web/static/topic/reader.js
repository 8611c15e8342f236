/** Which messages of a topic a place shows, and where one can go from there. */
import { getJSON } from "../page/http.js";

export const PAGE = 25;
const BEYOND = 999_999_999_999_999; // a sequence that no topic has reached: answered at once

/**
 * Reads what is shown at a place `{topic, q?, producer?, at?, before?}`: what is found, or the
 * messages up to `at`, or the newest.
 * @returns {Promise<{messages, first?, last?, older, newer}>} messages newest first; `older` and
 *   `newer` are places, null where there is none. Rejects with a PubSubError
 */
export function read(place) {
  return place.q || place.producer ? search(place) : page(place);
}

async function search({ topic, q, producer, before }) {
  const query = new URLSearchParams({ topic, limit: PAGE });
  if (q) query.set("q", q);
  if (producer) query.set("producer", producer);
  if (before) query.set("before", before);
  const { rows, next } = await getJSON(`/messages?${query}`);
  const cursor = next && new URL(next).searchParams.get("before");
  const older = cursor ? { topic, q, producer, before: cursor } : null;
  return { messages: rows, older, newer: before ? { topic, q, producer } : null };
}

async function page({ topic, at }) {
  const end = await ask(topic, BEYOND, 1);
  const last = Math.min(at ?? end.sequence, end.sequence);
  const messages = (await range(topic, Math.max(0, last - PAGE), last)).reverse();
  const lowest = messages.at(-1)?.sequence ?? 0;
  const newer = last + PAGE < end.sequence ? { topic, at: last + PAGE } : { topic };
  return {
    messages,
    first: end.first,
    last: end.sequence,
    older: lowest > end.first ? { topic, at: lowest - 1 } : null,
    newer: at === undefined ? null : newer,
  };
}

/** The messages behind a sequence and up to another; large ones come in several answers. */
async function range(topic, after, last) {
  const found = [];
  let behind = after;
  while (behind < last) {
    const { messages } = await ask(topic, behind, last - behind);
    if (!messages.length) break;
    found.push(...messages.filter(({ sequence }) => sequence <= last));
    behind = messages.at(-1).sequence;
  }
  return found;
}

/** The messages behind a sequence, newest first, and where the topic ends: what came since. */
export async function since(topic, sequence) {
  const { messages, sequence: last } = await ask(topic, sequence, PAGE);
  return { messages: messages.reverse(), last };
}

async function ask(topic, after, limit) {
  const { rows } = await getJSON(`/topics/${encodeURIComponent(topic)}/messages?after=${after}&limit=${limit}`);
  return rows;
}
