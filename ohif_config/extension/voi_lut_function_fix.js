/**
 * A fix of OHIF 3.13: its image loader keeps only the first letter of VOI LUT Function, "S" of "SIGMOID", and
 * Cornerstone then sets no window at all.
 */

const FUNCTIONS = new Set(['LINEAR', 'LINEAR_EXACT', 'SIGMOID']);

/** Write the whole VOI LUT Function (PS3.3 C.11.2.1.3) into an image; an unknown one is removed, which means LINEAR. */
export function restoreVoiLutFunction(image, metaData) {
  if (image.voiLUTFunction === undefined || FUNCTIONS.has(image.voiLUTFunction)) return;

  const [name] = [metaData.get('voiLutModule', image.imageId)?.voiLUTFunction].flat();
  image.voiLUTFunction = FUNCTIONS.has(name) ? name : undefined;
}

/** Correct each image when it is loaded, before it is drawn. Returns a function that ends this. */
export function startVoiLutFunctionFix({ eventTarget, metaData, EVENTS } = window.cornerstone) {
  const onImageLoaded = ({ detail: { image } }) => restoreVoiLutFunction(image, metaData);

  eventTarget.addEventListener(EVENTS.IMAGE_LOADED, onImageLoaded);
  return () => eventTarget.removeEventListener(EVENTS.IMAGE_LOADED, onImageLoaded);
}
