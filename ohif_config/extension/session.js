/** One conversation with the prompt service: the whole list of prompts each time, one question at a time. */

const URL = '/prompts';

/**
 * Events: `change` (any of the fields), `answer` (there is a new mask, or none). `sources.ask` is the world.
 * A prompt is `{ point, positive, sop_instance_uid, frame }` or `{ box, sop_instance_uid, frame }`, LPS mm.
 */
export class PromptSession extends EventTarget {
  constructor(sources) {
    super();
    this.sources = sources;
    this.engine = '';
    this.propagate = false;
    this.reset();
  }

  reset() {
    Object.assign(this, { id: null, series: null, window: null, prompts: [], answer: null, error: null });
    this.asked = '';
    this.wanted = null;
  }

  get busy() {
    return Boolean(this.asking);
  }

  /** The prompts as they are now; asked at once, or as soon as the question before is answered. */
  set(prompts, series, window) {
    Object.assign(this, { prompts, series: series ?? this.series, window: window ?? this.window });
    return this.refresh();
  }

  /** Ask when what would be asked has changed. */
  refresh() {
    if (!this.prompts.length) return this.forget();
    const question = this.question();
    const text = JSON.stringify(question);
    if (text === this.asked) return this.asking ?? Promise.resolve();
    this.asked = text;
    this.wanted = question;
    this.asking ??= this.converse();
    this.changed();
    return this.asking;
  }

  question() {
    const { series, engine, prompts, propagate } = this;
    const made = { series, propagate, prompts };
    if (engine) made.engine = engine;
    if (this.window) made.window = this.window;
    return made;
  }

  /** Ask until nothing new is wanted. */
  async converse() {
    while (this.wanted) {
      const question = { ...this.wanted, ...(this.id && { session: this.id }) };
      this.wanted = null;
      try {
        const answer = await this.sources.ask(URL, { method: 'POST', body: question });
        this.id = answer.session;
        if (this.prompts.length) Object.assign(this, { answer, error: null });
      } catch (error) {
        if (question.session && [404, 410].includes(error.status)) {
          this.id = null; // the session had expired: the whole list is asked again, in a new one
          delete question.session;
          this.wanted ??= question;
          continue;
        }
        Object.assign(this, { answer: null, error });
        this.asked = '';
      }
      if (!this.wanted) this.tell();
    }
    this.asking = null;
    if (!this.prompts.length) await this.forget();
    this.changed();
  }

  /** Store the answer under a coded name; the new object's UIDs. */
  async accept(term) {
    const { label, category, type, laterality, color } = term;
    const body = { label, category, type, color };
    if (laterality) body.laterality = laterality;
    const stored = await this.sources.ask(`${URL}/${this.id}/accept`, { method: 'POST', body });
    this.reset();
    this.tell();
    return stored;
  }

  /** Give everything up, here and there. */
  async forget() {
    const { id } = this;
    if (this.asking) return this.asking.then(() => {}); // converse() forgets when nothing is left
    this.reset();
    this.tell();
    if (id) await this.sources.ask(`${URL}/${id}`, { method: 'DELETE' }).catch(() => {}); // it expires by itself
  }

  tell() {
    this.dispatchEvent(new Event('answer'));
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}
