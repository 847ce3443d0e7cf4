/** The upper part of the "Segment" panel: automatic engines, and the study's jobs with their progress. */

import { errorText, postJson } from './api_client.js';
import { createElement } from './dom.js';
import { createEngineOption } from './engine_option.js';
import { isOpen } from './jobs.js';

const MAX_JOBS = 6;

export class EnginePanel {
  /** `watch` is a JobWatch; `showResults(job)` shows a finished job's segmentations over the images. */
  constructor(watch, requestJson, showResults) {
    Object.assign(this, { watch, requestJson, showResults });
    this.drawJobs = this.drawJobs.bind(this);
    this.engineSelect = createElement('select', { ariaLabel: 'Engine' });
    this.startButton = createElement(
      'button',
      { className: 'mp-primary', type: 'button', disabled: true, onclick: () => this.startSegmentation() },
      'Start',
    );
    this.status = createElement('p', { role: 'status' });
    this.jobList = createElement('div', { className: 'mp-jobs' });
  }

  /** Fill `container`. Returns a function that ends the panel. */
  mount(container) {
    container.append(
      createElement('h3', {}, 'Automatic segmentation'),
      createElement('div', { className: 'mp-row' }, this.engineSelect, this.startButton),
      this.status,
      this.jobList,
    );

    this.watch.addEventListener('change', this.drawJobs);
    this.drawJobs();
    this.runShowingErrors(() => this.loadEngines());
    return () => this.watch.removeEventListener('change', this.drawJobs);
  }

  async loadEngines() {
    const { engines, automatic } = await this.requestJson('/engines');
    const options = engines.map(engine => createEngineOption(engine, engine.name === automatic));
    this.engineSelect.replaceChildren(...options);
    this.startButton.disabled = !engines.some(engine => engine.available);
  }

  async startSegmentation() {
    await this.runShowingErrors(async () => {
      const job = await postJson(`/studies/${this.watch.study}/segment`, { engine: this.engineSelect.value });
      this.watch.update(job);
    });
    this.watch.poll();
  }

  async cancelJob(job) {
    this.watch.update(await postJson(`/jobs/${job.id}/cancel`));
  }

  async runShowingErrors(work) {
    this.status.textContent = '';
    this.status.classList.remove('mp-error');
    try {
      await work();
    } catch (error) {
      this.status.textContent = errorText(error);
      this.status.classList.add('mp-error');
    }
  }

  drawJobs() {
    const jobs = this.watch.list.filter(job => job.kind === 'segment' || isOpen(job));
    this.jobList.replaceChildren(...jobs.slice(0, MAX_JOBS).map(job => this.createJobEntry(job)));
  }

  createJobEntry(job) {
    const kind = createElement('b', {}, job.title);
    const state = createElement('span', {}, describeState(job));
    return createElement(
      'div',
      { className: 'mp-job', 'data-job': job.id, 'data-state': job.state },
      createElement('div', { className: 'mp-row' }, kind, state, this.createJobButton(job)),
      createProgressBar(job),
      createJobText(job),
    );
  }

  createJobButton(job) {
    const createButton = (text, work) =>
      createElement('button', { type: 'button', onclick: () => this.runShowingErrors(work) }, text);

    if (isOpen(job)) return createButton('Cancel', () => this.cancelJob(job));
    if (job.state === 'done' && job.kind === 'segment') return createButton('Show', () => this.showResults(job));
    return null;
  }
}

/** The progress of a running job; without a percentage the bar moves to and fro. */
function createProgressBar(job) {
  if (job.state !== 'running') return null;
  return createElement('progress', { max: 100, ...(job.percent === null ? {} : { value: job.percent }) });
}

function createJobText(job) {
  if (job.error) return createElement('p', { className: 'mp-error' }, errorText(job.error));
  return job.summary ? createElement('p', {}, job.summary) : null;
}

function describeState(job) {
  if (job.cancelling) return 'stopping';
  return job.state === 'running' && job.percent !== null ? `${job.percent} %` : job.state;
}
