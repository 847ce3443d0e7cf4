/** The lower part of the "Segment" panel: prompt tools, engine, the mask's name, accept or discard. */

import { errorText } from './api_client.js';
import { createElement } from './dom.js';
import { createEngineOption } from './engine_option.js';
import { TermSearch } from './term_search.js';
import { BOX, NEGATIVE, POSITIVE } from './tool_classes.js';

const TOOLS = [
  [POSITIVE, '+ Point', 'Click what belongs to the structure'],
  [NEGATIVE, '− Point', 'Click what does not belong to it'],
  [BOX, '▭ Box', 'Draw a box around the structure'],
];

export class PromptPanel {
  /** `controller` is a PromptController. */
  constructor(controller, requestJson) {
    const { tools, session } = controller;
    Object.assign(this, { controller, tools, session, requestJson });
    this.isStoring = false;
    this.draw = this.draw.bind(this);
    this.termSearch = new TermSearch(requestJson, this.draw);
    this.createControls();
  }

  createControls() {
    const { tools, session } = this;
    const createButton = (text, onclick, more = {}) =>
      createElement('button', { type: 'button', onclick, ...more }, text);

    this.toolButtons = TOOLS.map(([name, text, title]) =>
      createButton(text, () => tools.toggleTool(name), { title, 'data-tool': name }),
    );
    this.undoButton = createButton('Undo', () => tools.removeLast());
    this.clearButton = createButton('Clear', () => tools.removeAll());
    this.acceptButton = createButton('Accept', () => this.runShowingErrors(() => this.accept()), {
      className: 'mp-primary',
    });
    this.discardButton = createButton('Discard', () => tools.removeAll());

    const onchange = () => this.applyOptions();
    this.engineSelect = createElement('select', { ariaLabel: 'Prompt engine', onchange });
    this.propagateBox = createElement('input', { type: 'checkbox', checked: session.propagate, onchange });
    this.progressBar = createElement('progress', { hidden: true });
    this.status = createElement('p', { role: 'status' });
  }

  /** Fill `container`. Returns a function that ends the panel. */
  mount(container) {
    const createRow = (...children) => createElement('div', { className: 'mp-row' }, ...children);
    const propagateLabel = createElement('label', {}, this.propagateBox, ' through slices');
    container.append(
      createElement('h3', {}, 'Segment by prompts'),
      createRow(this.toolButtons),
      createRow(this.undoButton, this.clearButton, propagateLabel),
      createRow(this.engineSelect),
      this.progressBar,
      this.status,
      this.termSearch.element,
      createRow(this.acceptButton, this.discardButton),
    );

    this.tools.addEventListener('tool', this.draw);
    this.session.addEventListener('change', this.draw);
    this.draw();
    this.runShowingErrors(() => this.loadEngines());
    return () => {
      this.tools.removeEventListener('tool', this.draw);
      this.session.removeEventListener('change', this.draw);
    };
  }

  /** Give the session the chosen engine and reach. */
  applyOptions() {
    this.session.engine = this.engineSelect.value;
    this.session.propagate = this.propagateBox.checked;
    this.session.sendIfChanged();
  }

  async accept() {
    this.isStoring = true;
    this.draw();
    try {
      await this.controller.accept(this.termSearch.term);
    } finally {
      this.isStoring = false;
      this.draw();
    }
    this.termSearch.clear();
  }

  async loadEngines() {
    const { engines } = await this.requestJson('/prompts/engines');
    this.engineSelect.replaceChildren(...engines.map(engine => createEngineOption(engine)));
    this.engineSelect.value = this.session.engine || engines.find(engine => engine.available)?.name;
    this.session.engine = this.engineSelect.value;
  }

  async runShowingErrors(work) {
    try {
      await work();
    } catch (error) {
      this.setStatus(errorText(error), true);
    }
  }

  setStatus(text, isError = false) {
    this.status.textContent = text;
    this.status.classList.toggle('mp-error', isError);
  }

  draw() {
    const { session, tools, isStoring } = this;
    const { answer, error, isBusy } = session;
    const { term } = this.termSearch;
    const hasPrompts = session.prompts.length > 0;

    for (const button of this.toolButtons) {
      button.classList.toggle('mp-chosen', button.dataset.tool === tools.activeTool);
    }
    for (const button of [this.undoButton, this.clearButton, this.discardButton]) {
      button.disabled = !hasPrompts || isStoring;
    }
    this.acceptButton.disabled = !answer?.voxels || isBusy || isStoring || !term;
    this.acceptButton.title = term ? '' : 'Choose a name first';
    this.progressBar.hidden = !isBusy && !isStoring;

    if (error) this.setStatus(errorText(error), true);
    else if (isStoring) this.setStatus('Storing…');
    else if (isBusy) this.setStatus('Segmenting…');
    else if (answer) this.setStatus(describeAnswer(answer));
    else this.setStatus('Choose a tool, then click on the image.');
  }
}

function describeAnswer({ voxels, slices, seconds, engine }) {
  const extent = slices.length === 1 ? '1 slice' : `${slices.length} slices`;
  return `${voxels} voxels in ${extent}, ${seconds.toFixed(2)} s (${engine}).`;
}
