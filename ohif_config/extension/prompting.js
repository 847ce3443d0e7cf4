/** The lower part of the panel: prompts, the answer, its name, accept or discard. */

import { h } from './dom.js';
import { naming } from './naming.js';
import { Overlay } from './overlay.js';
import { BOX, NEGATIVE, POSITIVE, promptOf } from './tools.js';

const TOOLS = [
  [POSITIVE, '+ Point', 'Click what belongs to the structure'],
  [NEGATIVE, '− Point', 'Click what does not belong to it'],
  [BOX, '▭ Box', 'Draw a box around the structure'],
];
const RESULT_NAME = 'Prompt result';

/** What draws, asks and stores, whether the panel is open or not. */
export class Prompting extends EventTarget {
  constructor(viewer, tools, session) {
    super();
    Object.assign(this, { viewer, tools, session, overlay: new Overlay(viewer) });
    tools.addEventListener('change', () => this.ask());
    session.addEventListener('answer', () => this.draw());
  }

  /** Send the prompts as they are drawn now. */
  ask() {
    const drawn = this.tools.annotations;
    if (!drawn.length) return this.session.set([]);
    this.displaySet = this.session.prompts.length ? this.displaySet : this.viewer.active()?.displaySet;
    const { displaySet } = this;
    const others = drawn.filter(a => !this.isOn(displaySet, a));
    if (others.length) {
      this.viewer.tell('Accept or discard the prompts on the other series first.', 'warning');
      return this.tools.remove(others);
    }
    const imageOf = (point, imageId) => {
      const known = imageId && displaySet.imageIds.includes(imageId);
      return this.viewer.imageOf(known ? imageId : this.viewer.nearestImage(displaySet, point));
    };
    const window = this.viewer.window(this.viewer.active().viewport);
    return this.session.set(drawn.map(a => promptOf(a, imageOf)), displaySet.SeriesInstanceUID, window);
  }

  isOn(displaySet, { metadata }) {
    const { referencedImageId } = metadata;
    if (!referencedImageId) return metadata.FrameOfReferenceUID === displaySet.instances[0].FrameOfReferenceUID;
    return this.viewer.imageOf(referencedImageId).series === displaySet.SeriesInstanceUID;
  }

  async draw() {
    const { answer } = this.session;
    if (!answer) return this.overlay.remove();
    await this.overlay.show(answer, this.displaySet, RESULT_NAME);
    requestAnimationFrame(() => requestAnimationFrame(() => measured()));
  }

  async accept(term) {
    const stored = await this.session.accept(term);
    this.tools.clear();
    const segmentation = await this.viewer.fetchSeries(stored.study_instance_uid, stored.series_instance_uid);
    await this.viewer.showSegmentation(segmentation);
    this.viewer.tell(`${term.label} is stored.`, 'success');
  }

  stop() {
    this.tools.clear();
    this.tools.stop();
  }
}

/** From the end of the last click to the overlay on the screen, for whoever looks at the browser's timeline. */
function measured() {
  if (performance.getEntriesByName('minipacs: prompt').length) {
    performance.measure('minipacs: click to overlay', 'minipacs: prompt');
    performance.clearMarks('minipacs: prompt');
  }
}

/** Fill `node`; what is returned ends it. */
export function prompts(node, prompting, ask) {
  const { tools, session } = prompting;
  const word = h('p', { role: 'status' });
  const bar = h('progress', { hidden: true });
  const buttons = TOOLS.map(([name, text, title]) =>
    h('button', { type: 'button', title, 'data-tool': name, onclick: () => tools.choose(name) }, text));
  const undo = h('button', { type: 'button', onclick: () => tools.undo() }, 'Undo');
  const clear = h('button', { type: 'button', onclick: () => tools.clear() }, 'Clear');
  const engine = h('select', { ariaLabel: 'Prompt engine', onchange: choose });
  const through = h('input', { type: 'checkbox', checked: session.propagate, onchange: choose });
  const name = naming(ask, draw);
  const accept = h('button', { className: 'mp-main', type: 'button', onclick: () => attempt(keep) }, 'Accept');
  const discard = h('button', { type: 'button', onclick: () => tools.clear() }, 'Discard');
  node.append(
    h('h3', {}, 'Segment by prompts'),
    h('div', { className: 'mp-row' }, buttons),
    h('div', { className: 'mp-row' }, undo, clear, h('label', {}, through, ' through slices')),
    h('div', { className: 'mp-row' }, engine),
    bar, word, name.node,
    h('div', { className: 'mp-row' }, accept, discard),
  );
  let storing = false;

  function choose() {
    session.engine = engine.value;
    session.propagate = through.checked;
    session.refresh();
  }

  async function keep() {
    storing = true;
    draw();
    await prompting.accept(name.term).finally(() => {
      storing = false;
      draw();
    });
    name.clear();
  }

  async function attempt(work) {
    try {
      await work();
    } catch (error) {
      say([error.message, error.hint].filter(Boolean).join(' '), true);
    }
  }

  function say(text, wrong = false) {
    word.textContent = text;
    word.classList.toggle('mp-wrong', wrong);
  }

  async function engines() {
    const { engines } = await ask('/prompts/engines');
    engine.replaceChildren(...engines.map(one => h('option', {
      value: one.name,
      disabled: !one.available,
      title: [one.reason, one.hint].filter(Boolean).join(' '),
    }, one.available ? one.name : `${one.name}: not available`)));
    engine.value = session.engine || engines.find(one => one.available)?.name;
    session.engine = engine.value;
  }

  function draw() {
    const { answer, error, busy } = session;
    const drawn = session.prompts.length > 0;
    buttons.forEach(button => button.classList.toggle('mp-chosen', button.dataset.tool === tools.active));
    undo.disabled = clear.disabled = discard.disabled = !drawn || storing;
    accept.disabled = !answer?.voxels || busy || storing || !name.term;
    accept.title = name.term ? '' : 'Choose a name first';
    bar.hidden = !busy && !storing;
    if (error) say([error.message, error.hint].filter(Boolean).join(' '), true);
    else if (storing) say('Storing…');
    else if (busy) say('Segmenting…');
    else if (answer) say(described(answer));
    else say('Choose a tool, then click on the image.');
  }

  tools.addEventListener('tool', draw);
  session.addEventListener('change', draw);
  draw();
  attempt(engines);
  return () => {
    tools.removeEventListener('tool', draw);
    session.removeEventListener('change', draw);
  };
}

function described({ voxels, slices, seconds, engine }) {
  const where = slices.length === 1 ? '1 slice' : `${slices.length} slices`;
  return `${voxels} voxels in ${where}, ${seconds.toFixed(2)} s (${engine}).`;
}
