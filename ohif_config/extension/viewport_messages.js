/** A viewport that stays blank says why. */

import { createElement } from './dom.js';
import { DERIVED_MODALITIES } from './ohif.js';

const CHECK_INTERVAL_MS = 400;
/** The display sets are complete when none has been added for this long. */
const SETTLED_AFTER_MS = 4000;
/** A series that is not drawn after this long is reported when an error was seen. */
const LATE_WITH_ERROR_MS = 8000;
/** A series that is not drawn after this long is reported in any case. */
const LATE_MS = 60000;
const MAX_ERROR_CHARACTERS = 200;
/** The key of the message that lies over the whole grid of viewports. */
const GRID = 'grid';

/** Explain in one sentence why a series is not drawn; `errors` are those that the page has reported, newest first. */
export function explainBlank({ Modality, instances = [] }, errors = []) {
  const lacks = name => instances.some(instance => instance[name] === undefined || instance[name] === null);
  const series = `This ${Modality ?? ''} series`.replace('  ', ' ');

  if (!instances.length || lacks('Rows')) return `${series} holds no images.`;
  if (lacks('ImagePositionPatient')) {
    return (
      `${series} cannot be drawn: its images lack Image Position (Patient), ` +
      'so that their place in the patient is unknown.'
    );
  }
  return errors.length ? `${series} cannot be drawn: ${errors[0]}` : `${series} has not been drawn yet.`;
}

/** Checks the viewports from time to time, while a study is open. */
export class ViewportMessages {
  constructor(viewer) {
    this.viewer = viewer;
    this.errors = [];
    this.messages = new Map();
    this.waitingSince = new Map();
    this.lastAddition = performance.now();
  }

  start() {
    const { displaySetService, customizationService } = this.viewer.services;
    const { unsubscribe } = displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, () => {
      this.lastAddition = performance.now();
    });
    // OHIF's own dialog for a derived object without its source: our message takes its place.
    customizationService.setCustomizations({
      missingReferenceDisplaySetHandler: { $set: () => ({ handled: true }) },
    });

    const removeListeners = this.addErrorListeners();
    const timer = setInterval(() => this.checkViewports(), CHECK_INTERVAL_MS);

    this.end = () => {
      unsubscribe();
      clearInterval(timer);
      removeListeners();
      [...this.messages.keys()].forEach(key => {
        this.setMessage(key, null);
      });
    };
  }

  stop() {
    this.end?.();
  }

  /** Collect the errors of the page and of the image loader. Returns a function that removes the listeners. */
  addErrorListeners() {
    const onError = event => {
      const cause = event.detail?.error ?? event.reason ?? event.error;
      if (cause) this.errors.unshift(String(cause.message ?? cause).slice(0, MAX_ERROR_CHARACTERS));
    };
    const onImageLoaded = ({ detail: { image } }) => {
      // A decoder that fails returns an image without size.
      if (!image.rows) this.errors.unshift('the compressed pixels of an image cannot be decoded.');
    };

    const { eventTarget, EVENTS } = window.cornerstone;
    const listeners = [
      [eventTarget, EVENTS.IMAGE_LOAD_FAILED, onError],
      [eventTarget, EVENTS.IMAGE_LOADED, onImageLoaded],
      [window, 'unhandledrejection', onError],
      [window, 'error', onError],
    ];

    for (const [target, name, listener] of listeners) target.addEventListener(name, listener);
    return () => {
      for (const [target, name, listener] of listeners) target.removeEventListener(name, listener);
    };
  }

  checkViewports() {
    const { viewportGridService, displaySetService } = this.viewer.services;
    const { viewports } = viewportGridService.getState();
    const displaySets = displaySetService.getActiveDisplaySets();

    const isFilled = [...viewports.values()].some(viewport => viewport.displaySetInstanceUIDs?.length);
    const isSettled = displaySets.length > 0 && performance.now() - this.lastAddition > SETTLED_AFTER_MS;
    const nothing = `This study holds nothing that the viewer can draw: ${listModalities(displaySets)}.`;

    this.setMessage(GRID, !isFilled && isSettled ? nothing : null);
    for (const viewportId of viewports.keys()) {
      this.setMessage(viewportId, this.messageFor(viewportId, isSettled));
    }
    for (const key of [...this.messages.keys()]) {
      if (key !== GRID && !viewports.has(key)) this.setMessage(key, null);
    }
  }

  /** The sentence that a viewport should show, or `null`. */
  messageFor(viewportId, isSettled) {
    const displaySet = this.viewer.firstDisplaySetOf(viewportId);
    if (!displaySet) return null;

    if (DERIVED_MODALITIES.has(displaySet.Modality)) {
      if (!isSettled || displaySet.referencedDisplaySetInstanceUID) return null;
      return (
        `This ${displaySet.Modality} cannot be drawn: the series it was made on is not in this view. ` +
        'Open the whole study.'
      );
    }
    if (!this.viewer.hasImages(displaySet) || this.viewer.isDrawn(viewportId)) return null;

    const waited = this.measureWait(viewportId, displaySet);
    const isLate = waited > LATE_MS || (this.errors.length > 0 && waited > LATE_WITH_ERROR_MS);
    return isLate ? explainBlank(displaySet, this.errors) : null;
  }

  /** For how long (ms) a viewport has been seen without its series drawn. */
  measureWait(viewportId, displaySet) {
    const key = `${viewportId} ${displaySet.displaySetInstanceUID}`;
    if (!this.waitingSince.has(key)) this.waitingSince.set(key, performance.now());
    return performance.now() - this.waitingSince.get(key);
  }

  /** Show a sentence over a viewport or over the grid; `null` removes it. */
  setMessage(key, sentence) {
    const shown = this.messages.get(key);
    if ((shown?.dataset.sentence ?? null) === sentence) return;

    shown?.remove();
    this.messages.delete(key);
    const container = sentence && this.viewer.messageContainerOf(key);
    if (!container) return;

    const message = createElement(
      'div',
      { className: 'mp-message', role: 'alert', 'data-sentence': sentence },
      createElement('p', {}, sentence),
      createElement('a', { href: `/studies/${this.viewer.study}`, target: '_blank' }, 'What is known of the study'),
    );
    container.append(message);
    this.messages.set(key, message);
  }
}

function listModalities(displaySets) {
  return [...new Set(displaySets.map(set => set.Modality))].sort().join(', ');
}
