/**
 * What went wrong, by its `code`: the server's own (`invalid`, `forbidden`, `rate_limited`, …),
 * or `timeout`, `disconnected`, `queue_full`, `closed`, `refused`, `protocol` from this side.
 * `event` names what was asked for, where that is known.
 */
export class PubSubError extends Error {
  constructor(code, message, event) {
    super(message);
    this.name = "PubSubError";
    this.code = code;
    this.event = event;
  }
}

/** The error in an acknowledgement, an `error` event or a refusal to connect, in any shape. */
export function errorFrom(answer, fallbackCode, event) {
  if (typeof answer === "string") return new PubSubError(fallbackCode, answer, event);
  const detail = Array.isArray(answer?.data) ? answer.data[0] : answer?.data;
  const code = answer?.code ?? detail?.code ?? fallbackCode;
  return new PubSubError(code, answer?.message ?? String(code), answer?.event ?? event);
}
