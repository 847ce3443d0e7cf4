/** Two fixes of OHIF 3.13 in its display sets: the source of a SEG or RTSTRUCT, and the colors of a SEG. */

import { DERIVED_MODALITIES } from './ohif.js';

/**
 * Give each derived display set its source series. OHIF compares a derived object with the first display set
 * that arrives after it, and no other; without its source it does not load.
 */
export function linkToSource(displaySets) {
  for (const derived of displaySets) {
    if (!DERIVED_MODALITIES.has(derived.Modality) || derived.referencedDisplaySetInstanceUID) continue;

    const isSource = set =>
      set.SeriesInstanceUID === derived.referencedSeriesInstanceUID && !DERIVED_MODALITIES.has(set.Modality);
    const source = displaySets.find(isSource);
    if (!source) continue;

    derived.referencedDisplaySetInstanceUID = source.displaySetInstanceUID;
    derived.isReconstructable = source.isReconstructable;
    derived.FrameOfReferenceUID = source.FrameOfReferenceUID;
  }
}

/**
 * Remove the item of the background, number 0, from Segment Sequence. OHIF takes a segment's color by the
 * place of its item, so that this one shifts every color.
 */
export function removeBackgroundItem(displaySets) {
  for (const { Modality, instance } of displaySets) {
    if (Modality !== 'SEG' || !instance?.SegmentSequence) continue;

    const items = [instance.SegmentSequence].flat();
    const segments = items.filter(item => Number(item.SegmentNumber) > 0);
    if (segments.length < items.length) instance.SegmentSequence = segments;
  }
}

/** Correct the display sets whenever OHIF adds some. Returns a function that ends this. */
export function startDisplaySetFixes({ displaySetService }) {
  const onDisplaySetsAdded = () => {
    const displaySets = displaySetService.getActiveDisplaySets();
    linkToSource(displaySets);
    removeBackgroundItem(displaySets);
  };

  const { unsubscribe } = displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, onDisplaySetsAdded);
  return unsubscribe;
}
