/** The only ways in which pages make elements: from a template, with text put in as text. */

export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/** A copy of the first element of a template, its `data-field`s filled. */
export function instantiate(templateId, fields = {}) {
  const element = byId(templateId).content.firstElementChild.cloneNode(true);
  fill(element, fields);
  return element;
}

/** Puts texts into the `data-field`s of an element; what is the same already is left alone. */
export function fill(element, fields) {
  for (const [name, text] of Object.entries(fields)) {
    setText(element.querySelector(`[data-field="${name}"]`), String(text ?? ""));
  }
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets a name that may be long: where it must be broken, it breaks behind `:`, `-`, `/`, `@`, … */
export function setName(element, text) {
  if (element.textContent === text && element.hasChildNodes()) return;
  const parts = text.split(/(?<=[:/@._-])(?=[^:/@._-])/).slice(0, 100);
  const rest = text.slice(parts.join("").length);
  element.replaceChildren(
    ...parts.flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part])),
    rest,
  );
}

/** Makes `elements` the children of `parent`, moving only those that are not in place. */
export function arrange(parent, elements) {
  elements.forEach((element, index) => {
    const present = parent.children[index] ?? null;
    if (present !== element) parent.insertBefore(element, present);
  });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
}
