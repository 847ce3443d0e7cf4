/** A session of the prompt service: each request sends the whole list of prompts, and one request is open at a time. */

const PROMPTS_PATH = '/prompts';
const SESSION_ENDED = [404, 410];

/**
 * Events: `change` (any of the fields), `answer` (there is a new mask, or none any more).
 * `requestJson` is what the tests replace. A prompt is `{ point, positive, sop_instance_uid, frame }` or
 * `{ box, sop_instance_uid, frame }`, LPS mm.
 */
export class PromptSession extends EventTarget {
  constructor({ requestJson }) {
    super();
    this.requestJson = requestJson;
    this.engine = '';
    this.propagate = false;
    this.reset();
  }

  reset() {
    Object.assign(this, { id: null, series: null, window: null, prompts: [], answer: null, error: null });
    /** The last request that was started, as text, to recognise a repetition. */
    this.lastRequestText = '';
    /** The newest request that waits for the open one to end. */
    this.nextRequest = null;
  }

  get isBusy() {
    return Boolean(this.sending);
  }

  /** Replace the prompts and send them, at once or as soon as the open request has ended. */
  setPrompts(prompts, series, window) {
    Object.assign(this, { prompts, series: series ?? this.series, window: window ?? this.window });
    return this.sendIfChanged();
  }

  /** Send the prompts unless the same request has been sent already. */
  sendIfChanged() {
    if (!this.prompts.length) return this.discard();

    const request = this.createRequest();
    const text = JSON.stringify(request);
    if (text === this.lastRequestText) return this.sending ?? Promise.resolve();

    this.lastRequestText = text;
    this.nextRequest = request;
    this.sending ??= this.sendAll();
    this.announceChange();
    return this.sending;
  }

  createRequest() {
    const { series, engine, prompts, propagate } = this;
    const request = { series, propagate, prompts };
    if (engine) request.engine = engine;
    if (this.window) request.window = this.window;
    return request;
  }

  /** Send requests until none waits. */
  async sendAll() {
    while (this.nextRequest) {
      const request = { ...this.nextRequest, ...(this.id && { session: this.id }) };
      this.nextRequest = null;
      await this.send(request);
    }

    this.sending = null;
    if (!this.prompts.length) await this.discard();
    this.announceChange();
  }

  /** Send one request and store its answer, or its error. An ended session is replaced by a new one. */
  async send(request) {
    try {
      const answer = await this.requestJson(PROMPTS_PATH, { method: 'POST', body: request });
      this.id = answer.session;
      if (this.prompts.length) Object.assign(this, { answer, error: null });
    } catch (error) {
      if (request.session && SESSION_ENDED.includes(error.status)) {
        this.id = null;
        delete request.session;
        this.nextRequest ??= request;
        return;
      }
      Object.assign(this, { answer: null, error });
      this.lastRequestText = '';
    }
    if (!this.nextRequest) this.announceAnswer();
  }

  /** Store the mask in the archive under a coded name; returns the new object's UIDs. */
  async accept(term) {
    const { label, category, type, laterality, color } = term;
    const body = { label, category, type, color };
    if (laterality) body.laterality = laterality;

    const stored = await this.requestJson(`${PROMPTS_PATH}/${this.id}/accept`, { method: 'POST', body });
    this.reset();
    this.announceAnswer();
    return stored;
  }

  /** Forget everything, here and in the prompt service. */
  async discard() {
    // `sendAll` discards when it ends without prompts.
    if (this.sending) return this.sending.then(() => {});

    const { id } = this;
    this.reset();
    this.announceAnswer();
    // The service ends a session by itself after a while, so that an error does not matter.
    if (id) await this.requestJson(`${PROMPTS_PATH}/${id}`, { method: 'DELETE' }).catch(() => {});
  }

  announceAnswer() {
    this.dispatchEvent(new Event('answer'));
    this.announceChange();
  }

  announceChange() {
    this.dispatchEvent(new Event('change'));
  }
}
