// A label map over the images it was made from, drawn by NiiVue; the labels alone when the images are missing.
import { Niivue, NVImage } from '/library/niivue/index.js';
import { waitForGpu } from '/static/wait_for_gpu.js';

const DEFAULT_COLOR = [255, 200, 0];
const LABEL_OPACITY = 0.4;
const BACKGROUND = [0.04, 0.06, 0.07, 1];

const { source: sourceUrl, map: labelMapUrl, labels } = JSON.parse(document.getElementById('overlay-data').textContent);
const canvas = document.getElementById('slices');
const status = document.getElementById('status');
const position = document.getElementById('position');

// Colors are 0 to 255, or parts from 0 to 1.
function toChannels(color) {
  const scale = color.every(part => part <= 1) ? 255 : 1;
  return color.map(part => Math.round(part * scale));
}

// The table of colors and names as NiiVue takes it; the first entry is the background.
function createColorTable() {
  const colors = labels.map(({ color }) => toChannels(color.length >= 3 ? color : DEFAULT_COLOR));
  return {
    R: [0, ...colors.map(color => color[0])],
    G: [0, ...colors.map(color => color[1])],
    B: [0, ...colors.map(color => color[2])],
    A: [0, ...colors.map(() => 255)],
    I: [0, ...labels.map(label => label.id)],
    labels: ['', ...labels.map(label => label.name)],
  };
}

// Load the images, if there are any, and the label map.
async function loadVolumes() {
  const [images, labelMap] = await Promise.all([
    NVImage.loadFromUrl({ url: sourceUrl, colormap: 'gray' }).catch(() => null),
    NVImage.loadFromUrl({ url: labelMapUrl, opacity: LABEL_OPACITY }),
  ]);

  // Before the volume is added: each addition and each change computes the colors of every volume again.
  labelMap.setColormapLabel(createColorTable());
  return images ? [images, labelMap] : [labelMap];
}

function connectControls(view) {
  document.getElementById('opacity').addEventListener('input', event => {
    view.setOpacity(view.volumes.length - 1, Number(event.target.value));
  });
  document.getElementById('view').addEventListener('change', event => {
    view.setSliceType(Number(event.target.value));
  });
}

const view = new Niivue({
  isResizeCanvas: true,
  isRadiologicalConvention: true,
  show3Dcrosshair: true,
  multiplanarShowRender: 0,
  backColor: BACKGROUND,
  logLevel: 'error',
});
view.onLocationChange = location => {
  position.textContent = location.string;
};

try {
  await view.attachToCanvas(canvas);
  view.setSliceType(view.sliceTypeMultiplanar);

  const volumes = await loadVolumes();
  for (const volume of volumes) view.addVolume(volume);
  await waitForGpu(view.gl);

  status.textContent = volumes.length > 1 ? '' : 'The images cannot be shown under the labels.';
  connectControls(view);
  canvas.dataset.ready = view.volumes.length;
} catch (error) {
  status.textContent = `The label map could not be shown (${error.message}).`;
}
