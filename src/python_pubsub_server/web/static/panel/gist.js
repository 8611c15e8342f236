/** What an alarm says in one sentence if there is one among its facts, as in those of alerts; else its event. */
export function gist({ event, text }) {
  return /(?:^|\s)text=(.+)$/.exec(text)?.[1] ?? event;
}
