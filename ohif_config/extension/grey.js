/** A mend of OHIF 3.13: its image loader takes the first letter of VOI LUT Function, "S" for "SIGMOID", which no window knows. */

const FUNCTIONS = new Set(['LINEAR', 'LINEAR_EXACT', 'SIGMOID']);

/** Give an image its VOI LUT Function (PS3.3 C.11.2.1.3) in full; what is none counts as LINEAR. */
export function nameFunction(image, metaData) {
  if (image.voiLUTFunction === undefined || FUNCTIONS.has(image.voiLUTFunction)) return;
  const [name] = [metaData.get('voiLutModule', image.imageId)?.voiLUTFunction].flat();
  image.voiLUTFunction = FUNCTIONS.has(name) ? name : undefined;
}

/** Do so for each image as it arrives, which is before it is drawn; returns what ends it. */
export function nameFunctions({ eventTarget, metaData, EVENTS } = window.cornerstone) {
  const arrived = ({ detail: { image } }) => nameFunction(image, metaData);
  eventTarget.addEventListener(EVENTS.IMAGE_LOADED, arrived);
  return () => eventTarget.removeEventListener(EVENTS.IMAGE_LOADED, arrived);
}
