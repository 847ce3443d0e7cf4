// A GLB of segments: turn it, come closer, switch segments on and off or make them glass.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { drawn } from "/static/drawn.js";

const stage = document.getElementById("stage");
const word = document.getElementById("word");
const scene = new THREE.Scene();
const camera = new THREE.PerspectiveCamera(35, 1, 0.001, 100);
let renderer;
try {
  renderer = new THREE.WebGLRenderer({ antialias: true });
} catch {
  word.textContent = "This browser has no WebGL. Download model.glb and open it in another program.";
  throw new Error("no WebGL");
}
renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
stage.prepend(renderer.domElement);
scene.add(new THREE.HemisphereLight(0xffffff, 0x445055, 1.6));
const lamp = new THREE.DirectionalLight(0xffffff, 1.8);
camera.add(lamp);
scene.add(camera);
const controls = new OrbitControls(camera, renderer.domElement);
controls.listenToKeyEvents(stage);
let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    controls.update();
    renderer.render(scene, camera);
  });
}
controls.addEventListener("change", draw);
new ResizeObserver(() => {
  const { clientWidth: width, clientHeight: height } = stage;
  renderer.setSize(width, height, false);
  camera.aspect = width / height;
  camera.updateProjectionMatrix();
  draw();
}).observe(stage);

const looks = { front: [0, 0, 1], back: [0, 0, -1], left: [1, 0, 0], right: [-1, 0, 0], above: [0, 1, 0.001] };
const box = new THREE.Box3();
function look(name) {
  const centre = box.getCenter(new THREE.Vector3());
  const radius = box.getSize(new THREE.Vector3()).length() / 2;
  const narrow = Math.min(1, camera.aspect);
  const away = (radius / Math.sin((camera.fov * Math.PI) / 360) / narrow) * 0.95;
  camera.position.copy(centre).addScaledVector(new THREE.Vector3(...looks[name]).normalize(), away);
  camera.near = away / 100;
  camera.far = away * 10;
  camera.updateProjectionMatrix();
  controls.target.copy(centre);
  draw();
}
for (const button of document.querySelectorAll("[data-look]")) button.addEventListener("click", () => look(button.dataset.look));

function row(mesh, name) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = `#${mesh.material.color.getHexString()}`;
  const glass = document.createElement("input");
  Object.assign(glass, { type: "range", min: 5, max: 100, value: Math.round(mesh.material.opacity * 100), ariaLabel: `opacity of ${name}` });
  box.addEventListener("change", () => {
    mesh.visible = box.checked;
    draw();
  });
  glass.addEventListener("input", () => {
    mesh.material.opacity = glass.value / 100;
    mesh.material.transparent = glass.value < 100;
    mesh.material.depthWrite = glass.value >= 100;
    draw();
  });
  label.append(box, swatch, document.createTextNode(name));
  const line = document.createElement("div");
  line.className = "switch";
  line.append(label, glass);
  return line;
}

try {
  const { scene: model } = await new GLTFLoader().loadAsync(stage.dataset.model);
  scene.add(model);
  box.setFromObject(model);
  const meshes = [];
  model.traverse((node) => node.isMesh && meshes.push(node));
  for (const mesh of meshes) mesh.material = mesh.material.clone();
  const volume = (m) => new THREE.Box3().setFromObject(m).getSize(new THREE.Vector3()).length();
  meshes.sort((a, b) => volume(b) - volume(a));
  meshes.forEach((mesh, i) => {
    const name = mesh.userData.label ?? mesh.parent?.userData.label ?? mesh.name.replaceAll("_", " ");
    if (i === 0 && meshes.length > 1) Object.assign(mesh.material, { transparent: true, opacity: 0.2, depthWrite: false });
    mesh.renderOrder = i === 0 ? 1 : 0;
    document.getElementById("switches").append(row(mesh, name));
  });
  look("front");
  await new Promise(requestAnimationFrame); // the picture that look() asked for is made before this one
  await drawn(renderer.getContext());
  word.textContent = "";
  stage.dataset.ready = meshes.length;
} catch (error) {
  word.textContent = `The model could not be loaded (${error.message}).`;
}
