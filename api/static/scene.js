// A GLB of segments: it can be turned and magnified, and each segment can be hidden or made transparent.
import * as THREE from 'three';
import { OrbitControls } from 'three/addons/controls/OrbitControls.js';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
import { waitForGpu } from '/static/wait_for_gpu.js';

const FIELD_OF_VIEW_DEGREES = 35;
const SKY_COLOR = 0xffffff;
const GROUND_COLOR = 0x445055;
const ENCLOSING_OPACITY = 0.2;
// The part of the view's height or width that the model fills, as a factor of the distance.
const MARGIN = 0.95;
// From where the camera looks at the model: Y is up, and the patient's face is along +Z.
const DIRECTIONS = {
  front: [0, 0, 1],
  back: [0, 0, -1],
  left: [1, 0, 0],
  right: [-1, 0, 0],
  above: [0, 1, 0.001],
};

const stage = document.getElementById('stage');
const status = document.getElementById('status');

function createRenderer() {
  try {
    return new THREE.WebGLRenderer({ antialias: true });
  } catch {
    status.textContent = 'This browser has no WebGL. Download model.glb and open it in another program.';
    throw new Error('no WebGL');
  }
}

const renderer = createRenderer();
renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
stage.prepend(renderer.domElement);

const scene = new THREE.Scene();
scene.add(new THREE.HemisphereLight(SKY_COLOR, GROUND_COLOR, 1.6));

const camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW_DEGREES, 1, 0.001, 100);
camera.add(new THREE.DirectionalLight(0xffffff, 1.8));
scene.add(camera);

const orbitControls = new OrbitControls(camera, renderer.domElement);
orbitControls.listenToKeyEvents(stage);

// Draw once before the next frame, however often this is called.
let isDrawRequested = false;
function requestDraw() {
  if (isDrawRequested) return;

  isDrawRequested = true;
  requestAnimationFrame(() => {
    isDrawRequested = false;
    orbitControls.update();
    renderer.render(scene, camera);
  });
}
orbitControls.addEventListener('change', requestDraw);

function fitToStage() {
  const { clientWidth: width, clientHeight: height } = stage;
  renderer.setSize(width, height, false);
  camera.aspect = width / height;
  camera.updateProjectionMatrix();
  requestDraw();
}
new ResizeObserver(fitToStage).observe(stage);

// Place the camera so that the whole model is seen from a direction.
const modelBox = new THREE.Box3();
function lookFrom(direction) {
  const center = modelBox.getCenter(new THREE.Vector3());
  const radius = modelBox.getSize(new THREE.Vector3()).length() / 2;

  const halfAngle = (camera.fov * Math.PI) / 360;
  const narrowness = Math.min(1, camera.aspect);
  const distance = (radius / Math.sin(halfAngle) / narrowness) * MARGIN;

  const unitVector = new THREE.Vector3(...DIRECTIONS[direction]).normalize();
  camera.position.copy(center).addScaledVector(unitVector, distance);
  camera.near = distance / 100;
  camera.far = distance * 10;
  camera.updateProjectionMatrix();
  orbitControls.target.copy(center);
  requestDraw();
}
for (const button of document.querySelectorAll('[data-direction]')) {
  button.addEventListener('click', () => lookFrom(button.dataset.direction));
}

function setOpacity(mesh, opacity) {
  const isOpaque = opacity >= 1;
  Object.assign(mesh.material, { opacity, transparent: !isOpaque, depthWrite: isOpaque });
}

function createVisibilityBox(mesh) {
  const box = document.createElement('input');
  Object.assign(box, { type: 'checkbox', checked: true });
  box.addEventListener('change', () => {
    mesh.visible = box.checked;
    requestDraw();
  });
  return box;
}

function createSwatch(mesh) {
  const swatch = document.createElement('span');
  swatch.className = 'swatch';
  swatch.style.background = `#${mesh.material.color.getHexString()}`;
  return swatch;
}

function createOpacitySlider(mesh, name) {
  const slider = document.createElement('input');
  const value = Math.round(mesh.material.opacity * 100);
  Object.assign(slider, { type: 'range', min: 5, max: 100, value, ariaLabel: `opacity of ${name}` });
  slider.addEventListener('input', () => {
    setOpacity(mesh, slider.value / 100);
    requestDraw();
  });
  return slider;
}

// The controls of one segment: visible or not, and how opaque.
function createSegmentControls(mesh, name) {
  const label = document.createElement('label');
  label.append(createVisibilityBox(mesh), createSwatch(mesh), name);

  const controls = document.createElement('div');
  controls.className = 'segment-controls';
  controls.append(label, createOpacitySlider(mesh, name));
  return controls;
}

function measureDiagonal(mesh) {
  return new THREE.Box3().setFromObject(mesh).getSize(new THREE.Vector3()).length();
}

// The meshes of a model, largest first, each with a material of its own.
function collectMeshes(model) {
  const meshes = [];
  model.traverse(node => {
    if (node.isMesh) meshes.push(node);
  });

  for (const mesh of meshes) mesh.material = mesh.material.clone();
  return meshes.sort((a, b) => measureDiagonal(b) - measureDiagonal(a));
}

function nameOf(mesh) {
  return mesh.userData.label ?? mesh.parent?.userData.label ?? mesh.name.replaceAll('_', ' ');
}

try {
  const { scene: model } = await new GLTFLoader().loadAsync(stage.dataset.model);
  scene.add(model);
  modelBox.setFromObject(model);

  const meshes = collectMeshes(model);
  const [largest] = meshes;
  if (largest) largest.renderOrder = 1;
  // The largest of several encloses the others, which must be seen through it.
  if (meshes.length > 1) setOpacity(largest, ENCLOSING_OPACITY);
  for (const mesh of meshes) document.getElementById('segments').append(createSegmentControls(mesh, nameOf(mesh)));

  lookFrom('front');
  await new Promise(requestAnimationFrame); // the frame that lookFrom requested is drawn before this one
  await waitForGpu(renderer.getContext());
  status.textContent = '';
  stage.dataset.ready = meshes.length;
} catch (error) {
  status.textContent = `The model could not be loaded (${error.message}).`;
}
