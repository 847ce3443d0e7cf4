/** The jobs of one study as they change: polled, and streamed by the server while some are open. */

const POLL_IDLE_MS = 5000;
const POLL_BUSY_MS = 2000;
const MAX_JOBS = 50;
const OPEN_STATES = new Set(['queued', 'running']);
/** `EventSource.CLOSED`: the server has refused the stream. */
const CLOSED = 2;

export const isOpen = job => OPEN_STATES.has(job.state);

/**
 * Events: `change` (the list has changed), `done` (detail: a job that was open here, or is new, and is done now).
 * `environment` is what the tests replace: `requestJson(path, options)`, `EventSource`, `setTimer(work, ms)` and
 * `clearTimer(timer)`.
 */
export class JobWatch extends EventTarget {
  constructor(study, environment) {
    super();
    this.study = study;
    this.jobs = new Map();
    this.environment = {
      setTimer: setTimeout.bind(globalThis),
      clearTimer: clearTimeout.bind(globalThis),
      ...environment,
    };
  }

  /** All known jobs, newest first. */
  get list() {
    return [...this.jobs.values()].sort((a, b) => b.id - a.id);
  }

  async start() {
    this.isStopped = false;
    await this.poll(true);
  }

  stop() {
    this.isStopped = true;
    this.environment.clearTimer(this.timer);
    this.closeStream();
  }

  /** Request the list once; then again after a while, with a stream meanwhile if a job is open. */
  async poll(isFirst = false) {
    this.environment.clearTimer(this.timer);

    try {
      const path = `/jobs?study=${encodeURIComponent(this.study)}&limit=${MAX_JOBS}`;
      const { jobs } = await this.environment.requestJson(path, { isAutomatic: true });
      for (const job of jobs.reverse()) this.update(job, isFirst);
    } catch (error) {
      // The login has expired: OHIF's own requests lead to the login page.
      if (error.status === 401) return this.stop();
    }
    if (this.isStopped) return;

    const isBusy = this.list.some(isOpen);
    if (isBusy && !this.stream) this.openStream();
    if (!isBusy) this.closeStream();

    const interval = isBusy && !this.stream ? POLL_BUSY_MS : POLL_IDLE_MS;
    this.timer = this.environment.setTimer(() => this.poll(), interval);
  }

  openStream() {
    if (!this.environment.EventSource) return;

    this.stream = new this.environment.EventSource('/jobs/events');
    this.stream.addEventListener('job', event => {
      const job = JSON.parse(event.data);
      if (job.study === this.study) this.update(job, false);
    });
    this.stream.addEventListener('error', () => {
      // The server allows only so many streams: polling goes on without one.
      if (this.stream?.readyState === CLOSED) this.closeStream();
    });
  }

  closeStream() {
    this.stream?.close();
    this.stream = null;
  }

  /** Store a job's present state, and dispatch the events that follow from it. */
  update(job, isFirst = false) {
    const known = this.jobs.get(job.id);
    if (JSON.stringify(known) === JSON.stringify(job)) return;

    this.jobs.set(job.id, job);
    this.dispatchEvent(new Event('change'));
    if (job.state === 'done' && known?.state !== 'done' && !isFirst) {
      this.dispatchEvent(new CustomEvent('done', { detail: job }));
    }
    if (!this.list.some(isOpen)) this.closeStream();
  }
}
