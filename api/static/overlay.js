// A label map over the images it was made from, by NiiVue. Without the images it shows the labels alone.
import { NVImage, Niivue } from "/library/niivue/index.js";
import { drawn } from "/static/drawn.js";

const what = JSON.parse(document.getElementById("what").textContent);
const canvas = document.getElementById("slices");
const word = document.getElementById("word");
const place = document.getElementById("place");

const bytes = (colour) => (colour.every((part) => part <= 1) ? colour.map((part) => Math.round(part * 255)) : colour);
const colours = what.labels.map((label) => bytes(label.color.length >= 3 ? label.color : [255, 200, 0]));
const table = {
  R: [0, ...colours.map((c) => c[0])],
  G: [0, ...colours.map((c) => c[1])],
  B: [0, ...colours.map((c) => c[2])],
  A: [0, ...colours.map(() => 255)],
  I: [0, ...what.labels.map((label) => label.id)],
  labels: ["", ...what.labels.map((label) => label.name)],
};

const view = new Niivue({ isResizeCanvas: true, isRadiologicalConvention: true, show3Dcrosshair: true, multiplanarShowRender: 0, backColor: [0.04, 0.06, 0.07, 1], logLevel: "error" });
view.onLocationChange = (at) => (place.textContent = at.string);
try {
  await view.attachToCanvas(canvas);
  view.setSliceType(view.sliceTypeMultiplanar);
  const [source, overlay] = await Promise.all([
    NVImage.loadFromUrl({ url: what.source, colormap: "gray" }).catch(() => null),
    NVImage.loadFromUrl({ url: what.map, opacity: 0.4 }),
  ]);
  overlay.setColormapLabel(table); // before it is added: each addition and each change colours every volume anew
  for (const volume of source ? [source, overlay] : [overlay]) view.addVolume(volume);
  await drawn(view.gl);
  word.textContent = source ? "" : "The images cannot be shown under the labels.";
  document.getElementById("opacity").addEventListener("input", (event) => {
    view.setOpacity(view.volumes.length - 1, Number(event.target.value));
  });
  document.getElementById("view").addEventListener("change", (event) => view.setSliceType(Number(event.target.value)));
  canvas.dataset.ready = view.volumes.length;
} catch (error) {
  word.textContent = `The label map could not be shown (${error.message}).`;
}
