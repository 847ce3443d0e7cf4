// A label map over the images it was made from, by NiiVue. Without the images it shows the labels alone.
import { Niivue } from "/library/niivue/index.js";

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
  const source = await fetch(what.source, { method: "GET" });
  const labels = { url: what.map, opacity: 0.4 };
  word.textContent = source.ok ? "" : "The images cannot be shown under the labels.";
  await view.loadVolumes(source.ok ? [{ url: what.source, colormap: "gray" }, labels] : [labels]);
  const overlay = view.volumes[view.volumes.length - 1];
  overlay.setColormapLabel(table);
  view.setSliceType(view.sliceTypeMultiplanar);
  view.updateGLVolume();
  document.getElementById("opacity").addEventListener("input", (event) => {
    view.setOpacity(view.volumes.length - 1, Number(event.target.value));
  });
  document.getElementById("view").addEventListener("change", (event) => view.setSliceType(Number(event.target.value)));
  canvas.dataset.ready = view.volumes.length;
} catch (error) {
  word.textContent = `The label map could not be shown (${error.message}).`;
}
