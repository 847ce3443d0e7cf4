/** The name of the new segment: a search in SNOMED terms, and the label to be shown. */

import { createElement } from './dom.js';

const TYPING_DELAY_MS = 150;
const MAX_SHOWN_TERMS = 8;
const MAX_LABEL_CHARACTERS = 64;

export class TermSearch {
  /** `onChange` is called when the term or its label has changed. */
  constructor(requestJson, onChange) {
    Object.assign(this, { requestJson, onChange });
    this.chosenTerm = null;
    /** Number of the newest search: the answers of older ones are dropped. */
    this.searchNumber = 0;

    this.input = createElement('input', {
      type: 'text',
      placeholder: 'Name: search SNOMED terms',
      ariaLabel: 'Name of the segment',
      maxLength: MAX_LABEL_CHARACTERS,
      oninput: () => this.searchSoon(),
      onkeydown: event => this.handleKey(event),
    });
    this.termList = createElement('div', { className: 'mp-terms', role: 'listbox' });
    this.codeText = createElement('p', { className: 'mp-code' });
    const inputRow = createElement('div', { className: 'mp-row' }, this.input);
    this.element = createElement('div', {}, inputRow, this.termList, this.codeText);
  }

  /** The chosen term with the label as typed, or `null`. */
  get term() {
    const label = this.input.value.trim();
    return this.chosenTerm && label ? { ...this.chosenTerm, label } : null;
  }

  clear() {
    this.chosenTerm = null;
    this.input.value = '';
    this.codeText.textContent = '';
    this.termList.replaceChildren();
    this.onChange();
  }

  handleKey(event) {
    event.stopPropagation(); // OHIF's hotkeys are letters
    if (event.key === 'Enter') this.termList.querySelector('button')?.click();
  }

  searchSoon() {
    clearTimeout(this.searchTimer);
    this.searchTimer = setTimeout(() => this.search(), TYPING_DELAY_MS);
    this.onChange();
  }

  async search() {
    this.searchNumber += 1;
    const number = this.searchNumber;
    const terms = await this.findTerms(this.input.value.trim());
    if (number !== this.searchNumber) return;

    const options = terms.slice(0, MAX_SHOWN_TERMS).map(term => this.createTermOption(term));
    this.termList.replaceChildren(...options);
  }

  /** The terms that match a text; none when the request fails. */
  async findTerms(text) {
    if (!text) return [];
    try {
      const { terms } = await this.requestJson(`/prompts/terminology?q=${encodeURIComponent(text)}`);
      return terms;
    } catch {
      return [];
    }
  }

  createTermOption(term) {
    const swatch = createElement('span', { className: 'mp-swatch' });
    swatch.style.background = `rgb(${term.color.join(' ')})`;
    const onclick = () => this.choose(term);
    return createElement('button', { type: 'button', role: 'option', onclick }, swatch, term.label);
  }

  choose(term) {
    this.searchNumber += 1;
    this.chosenTerm = term;
    this.input.value = term.label;
    this.termList.replaceChildren();

    const codes = [term.category, term.type, term.laterality].filter(Boolean);
    this.codeText.textContent = codes.map(code => `${code.meaning} (${code.value})`).join(' · ');
    this.onChange();
  }
}
