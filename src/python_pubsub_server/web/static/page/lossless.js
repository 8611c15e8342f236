/**
 * JSON whose numbers come out as they went in: 12345678901234567890 too, which JavaScript's own
 * numbers can't hold. Falls back to plain JSON in browsers without JSON.rawJSON.
 */
const canKeep = typeof JSON.rawJSON === "function";

function keep(_key, value, { source }) {
  const isRounded = typeof value === "number" && !isExact(value, source);
  return isRounded ? JSON.rawJSON(source) : value;
}

function isExact(value, source) {
  return String(value) === source || (Number.isSafeInteger(value) && /^-?\d+(\.0+)?$/.test(source));
}

export const lossless = {
  parse: (text) => JSON.parse(text, canKeep ? keep : undefined),
  stringify: JSON.stringify,
};
