/** Saves a drawing as a file that needs no style sheet. */
const STYLED = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-opacity",
  "stroke-dasharray",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "paint-order",
  "visibility",
];
const DRAWN = ".node, path, text"; // a node that is not chosen is pale as a whole
const PNG_DENSITY = 2;

export function saveSvg(svg, name) {
  download(new Blob([standalone(svg)], { type: "image/svg+xml" }), `${name}.svg`);
}

export async function savePng(svg, name) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(standalone(svg))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = svg.clientWidth * PNG_DENSITY;
  canvas.height = svg.clientHeight * PNG_DENSITY;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  download(blob, `${name}.png`);
}

/** The drawing as it looks now, as text. */
export function standalone(svg) {
  const copy = svg.cloneNode(true);
  const originals = svg.querySelectorAll(DRAWN);
  copy.querySelectorAll(DRAWN).forEach((element, index) => {
    const style = getComputedStyle(originals[index]);
    for (const property of STYLED) element.setAttribute(property, style.getPropertyValue(property));
  });
  const { clientWidth: width, clientHeight: height } = svg;
  const ground = document.createElementNS(svg.namespaceURI, "rect");
  const colour = getComputedStyle(svg).backgroundColor;
  for (const [key, value] of Object.entries({ width, height, fill: colour })) {
    ground.setAttribute(key, value);
    if (key !== "fill") copy.setAttribute(key, value);
  }
  copy.prepend(ground);
  return new XMLSerializer().serializeToString(copy);
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
