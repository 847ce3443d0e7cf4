/** What the new segment is: a search over SNOMED terms, and the label to be shown. */

import { h } from './dom.js';

const WAIT_MS = 150;

/** `{ node, term, clear() }`; `term` is the chosen one with the label as typed, or `null`. `changed` is told. */
export function naming(ask, changed) {
  let chosen = null;
  let timer = null;
  let asked = 0;
  const input = h('input', {
    type: 'text',
    placeholder: 'Name: search SNOMED terms',
    ariaLabel: 'Name of the segment',
    maxLength: 64,
    oninput: typed,
    onkeydown: event => {
      event.stopPropagation(); // OHIF's hotkeys are letters
      if (event.key === 'Enter') list.querySelector('button')?.click();
    },
  });
  const list = h('div', { className: 'mp-terms', role: 'listbox' });
  const code = h('p', { className: 'mp-code' });
  const node = h('div', {}, h('div', { className: 'mp-row' }, input), list, code);

  function typed() {
    clearTimeout(timer);
    timer = setTimeout(search, WAIT_MS);
    changed();
  }

  async function search() {
    const mine = ++asked;
    const text = input.value.trim();
    const { terms } = text ? await ask(`/prompts/terminology?q=${encodeURIComponent(text)}`).catch(() => ({ terms: [] })) : { terms: [] };
    if (mine === asked) list.replaceChildren(...terms.slice(0, 8).map(row));
  }

  function row(term) {
    const dot = h('span', { className: 'mp-dot' });
    dot.style.background = `rgb(${term.color.join(' ')})`;
    return h('button', { type: 'button', role: 'option', onclick: () => choose(term) }, dot, term.label);
  }

  function choose(term) {
    asked += 1;
    chosen = term;
    input.value = term.label;
    list.replaceChildren();
    code.textContent = [term.category, term.type, term.laterality].filter(Boolean).map(c => `${c.meaning} (${c.value})`).join(' · ');
    changed();
  }

  return {
    node,
    get term() {
      const label = input.value.trim();
      return chosen && label ? { ...chosen, label } : null;
    },
    clear() {
      chosen = null;
      input.value = code.textContent = '';
      list.replaceChildren();
      changed();
    },
  };
}
