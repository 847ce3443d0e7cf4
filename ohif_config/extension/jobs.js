/** The jobs of one study as they change: asked for now and then, listened to while some are open. */

const IDLE_MS = 5000;
const BUSY_MS = 2000;
const OPEN = new Set(['queued', 'running']);

export const isOpen = job => OPEN.has(job.state);

/**
 * Events: `change` (the list is another), `done` (detail: a job that was open here, or is new, and is done now).
 * `sources` are the world: `ask(path)`, `EventSource`, `later(f, ms)` and `never(handle)`.
 */
export class JobWatch extends EventTarget {
  constructor(study, sources) {
    super();
    this.study = study;
    this.jobs = new Map();
    this.sources = { later: setTimeout.bind(globalThis), never: clearTimeout.bind(globalThis), ...sources };
  }

  get list() {
    return [...this.jobs.values()].sort((a, b) => b.id - a.id);
  }

  async start() {
    this.stopped = false;
    await this.look(true);
  }

  stop() {
    this.stopped = true;
    this.sources.never(this.timer);
    this.silence();
  }

  /** Ask once; then again after a while, or listen when something is open. */
  async look(first = false) {
    this.sources.never(this.timer);
    try {
      const { jobs } = await this.sources.ask(`/jobs?study=${encodeURIComponent(this.study)}&limit=50`);
      for (const job of jobs.reverse()) this.take(job, first);
    } catch (error) {
      if (error.status === 401) return this.stop(); // the session ended: OHIF's own requests lead to the login
    }
    if (this.stopped) return;
    const busy = this.list.some(isOpen);
    if (busy && !this.listening) this.listen();
    if (!busy) this.silence();
    this.timer = this.sources.later(() => this.look(), busy && !this.listening ? BUSY_MS : IDLE_MS);
  }

  listen() {
    if (!this.sources.EventSource) return;
    this.listening = new this.sources.EventSource('/jobs/events');
    this.listening.addEventListener('job', event => {
      const job = JSON.parse(event.data);
      if (job.study === this.study) this.take(job, false);
    });
    this.listening.addEventListener('error', () => {
      if (this.listening?.readyState === 2) this.silence(); // refused (too many listen): asking goes on
    });
  }

  silence() {
    this.listening?.close();
    this.listening = null;
  }

  /** A job as it is now; older news than we have is dropped with the equal. */
  take(job, first) {
    const before = this.jobs.get(job.id);
    if (JSON.stringify(before) === JSON.stringify(job)) return;
    this.jobs.set(job.id, job);
    this.dispatchEvent(new Event('change'));
    if (job.state === 'done' && before?.state !== 'done' && !first) {
      this.dispatchEvent(new CustomEvent('done', { detail: job }));
    }
    if (!this.list.some(isOpen)) this.silence();
  }
}
