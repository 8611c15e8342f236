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

/** Makes `elements` the children of `parent`, moving only those that are not in place. */
export function arrange(parent, elements) {
  elements.forEach((element, index) => {
    const present = parent.children[index] ?? null;
    if (present !== element) parent.insertBefore(element, present);
  });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
}
