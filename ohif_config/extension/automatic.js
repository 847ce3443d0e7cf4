/** The upper part of the panel: automatic engines, and the study's jobs with how far they are. */

import { h } from './dom.js';
import { ask, post } from './http.js';
import { isOpen } from './jobs.js';

const KINDS = { segment: 'Segmentation', catalogue: 'Catalogue' };
const SHOWN = 6;

/** Fill `node`; what is returned ends it. `watch` is a JobWatch, `show(job)` lays a job's results over the images. */
export function automatic(node, watch, show) {
  const choice = h('select', { ariaLabel: 'Engine' });
  const start = h('button', { className: 'mp-main', type: 'button', disabled: true, onclick: begin }, 'Start');
  const word = h('p', { role: 'status' });
  const list = h('div', { className: 'mp-jobs' });
  node.append(h('h3', {}, 'Automatic segmentation'), h('div', { className: 'mp-row' }, choice, start), word, list);

  async function engines() {
    const { engines, automatic } = await ask('/engines');
    choice.replaceChildren(...engines.map(engine => option(engine, automatic)));
    start.disabled = !engines.some(engine => engine.available);
  }

  async function begin() {
    await attempt(async () => watch.take(await post(`/studies/${watch.study}/segment`, { engine: choice.value })));
    watch.look();
  }

  async function attempt(work) {
    word.textContent = '';
    word.classList.remove('mp-wrong');
    try {
      await work();
    } catch (error) {
      word.textContent = [error.message, error.hint].filter(Boolean).join(' ');
      word.classList.add('mp-wrong');
    }
  }

  function draw() {
    const jobs = watch.list.filter(job => job.kind === 'segment' || isOpen(job)).slice(0, SHOWN);
    list.replaceChildren(...jobs.map(job => drawn(job, attempt, watch, show)));
  }

  watch.addEventListener('change', draw);
  draw();
  attempt(engines);
  return () => watch.removeEventListener('change', draw);
}

function option(engine, automatic) {
  const text = engine.available ? engine.name : `${engine.name}: not available`;
  const why = [engine.reason, engine.hint].filter(Boolean).join(' ');
  return h('option', {
    value: engine.name,
    disabled: !engine.available,
    selected: engine.available && engine.name === automatic,
    title: why,
  }, text);
}

function drawn(job, attempt, watch, show) {
  const act = (name, work) => h('button', { type: 'button', onclick: () => attempt(work) }, name);
  const cancel = () => post(`/jobs/${job.id}/cancel`).then(told => watch.take(told));
  const button = isOpen(job)
    ? act('Cancel', cancel)
    : job.state === 'done' && job.kind === 'segment' ? act('Show', () => show(job)) : null;
  const head = h('div', { className: 'mp-row' }, h('b', {}, KINDS[job.kind] ?? job.kind), h('span', {}, state(job)), button);
  const bar = job.state === 'running' ? h('progress', { max: 100, ...(job.percent === null ? {} : { value: job.percent }) }) : null;
  const text = job.error ? `${job.error.message} ${job.error.hint}` : job.summary;
  const words = text ? h('p', job.error ? { className: 'mp-wrong' } : {}, text) : null;
  return h('div', { className: 'mp-job', 'data-job': job.id, 'data-state': job.state }, head, bar, words);
}

function state(job) {
  if (job.cancelling) return 'stopping';
  return job.state === 'running' && job.percent !== null ? `${job.percent} %` : job.state;
}
