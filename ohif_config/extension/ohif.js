/** The services of OHIF 3.13 that the extension uses: everything that depends on OHIF's internals is here. */

const LABELMAP = 'Labelmap';
const ERROR_DURATION_MS = 10000;
const NOTICE_DURATION_MS = 4000;

/** Modalities of the objects that are made on another series and drawn over its images. */
export const DERIVED_MODALITIES = new Set(['SEG', 'RTSTRUCT']);
const MODALITIES_WITHOUT_IMAGES = new Set([...DERIVED_MODALITIES, 'SR', 'PR', 'KO']);

export class Viewer {
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
  }

  /** Study Instance UID in the page's address; the first when there are several. */
  get study() {
    const uids = new URLSearchParams(window.location.search).getAll('StudyInstanceUIDs').join(',');
    return uids.split(',')[0] || null;
  }

  notify(message, type = 'info', title = 'minipacs') {
    const duration = type === 'error' ? ERROR_DURATION_MS : NOTICE_DURATION_MS;
    this.services.uiNotificationService.show({ title, message, type, duration });
  }

  /** The active viewport as `{ viewportId, viewport, displaySet }` with its image series, or `null`. */
  getActiveViewport() {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    const viewportId = viewportGridService.getActiveViewportId();
    const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const displaySet = this.imageDisplaySetOf(viewportId);
    return viewport && displaySet ? { viewportId, viewport, displaySet } : null;
  }

  /** The display set whose images a viewport shows, or `undefined`. */
  imageDisplaySetOf(viewportId) {
    const { viewportGridService, displaySetService } = this.services;
    const uids = viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
    const displaySets = uids.map(uid => displaySetService.getDisplaySetByUID(uid));
    return displaySets.find(set => set && !MODALITIES_WITHOUT_IMAGES.has(set.Modality));
  }

  /** The first active display set that a viewport shows, whatever it is, or `undefined`. */
  firstDisplaySetOf(viewportId) {
    const { viewportGridService, displaySetService } = this.services;
    const uids = viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
    const active = displaySetService.getActiveDisplaySets();
    return uids.map(uid => active.find(set => set.displaySetInstanceUID === uid)).find(Boolean);
  }

  hasImages({ imageIds, images }) {
    return Boolean(imageIds?.length || images?.length);
  }

  /** Whether a viewport has an image on it. */
  isDrawn(viewportId) {
    const viewport = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const [columns, rows] = viewport?.getImageData?.()?.dimensions ?? [0, 0];
    return columns * rows > 0;
  }

  /** The element that a message over a viewport is put into; that of the whole grid for any other key. */
  messageContainerOf(viewportId) {
    const element = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId)?.element;
    return element?.parentElement ?? document.querySelector('[data-cy="viewport-grid"]');
  }

  /** IDs of the viewports that show the images of this display set. */
  viewportIdsOf(displaySetInstanceUID) {
    const ids = [...this.services.viewportGridService.getState().viewports.keys()];
    return ids.filter(id => this.imageDisplaySetOf(id)?.displaySetInstanceUID === displaySetInstanceUID);
  }

  /** What an image ID stands for: `{ sopInstanceUid, frame, series }`, frames counted from 1. */
  identifyImage(imageId, core = window.cornerstone) {
    const instance = core.metaData.get('instance', imageId);
    const frame = /\/frames\/(\d+)/.exec(imageId)?.[1] ?? instance.frameNumber ?? 1;
    return { sopInstanceUid: instance.SOPInstanceUID, frame: Number(frame), series: instance.SeriesInstanceUID };
  }

  /** The image ID of a display set whose plane is nearest to a point (LPS, mm). */
  findNearestImage(displaySet, point, core = window.cornerstone) {
    const distanceTo = imageId => {
      const plane = core.metaData.get('imagePlaneModule', imageId);
      if (!plane?.imagePositionPatient || !plane.rowCosines) return Infinity;

      const [r, c, p] = [plane.rowCosines, plane.columnCosines, plane.imagePositionPatient];
      const normal = [r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]];
      return Math.abs(normal.reduce((sum, n, i) => sum + n * (point[i] - p[i]), 0));
    };

    const images = displaySet.imageIds.map(imageId => ({ imageId, distance: distanceTo(imageId) }));
    return images.reduce((nearest, image) => (image.distance < nearest.distance ? image : nearest)).imageId;
  }

  /** The window of a viewport as `[center, width]`, or `null`. */
  readWindow(viewport, core = window.cornerstone) {
    const range = viewport.getProperties?.().voiRange;
    if (!range) return null;

    const { windowCenter, windowWidth } = core.utilities.windowLevel.toWindowLevel(range.lower, range.upper);
    return [windowCenter, windowWidth];
  }

  renderAll() {
    for (const engine of window.cornerstone.getRenderingEngines()) engine.render();
  }

  /** Fetch a series that was stored after the page was opened, and return its display set. */
  async fetchSeries(study, series) {
    const { displaySetService } = this.services;
    const findDisplaySet = () => displaySetService.getDisplaySetsForSeries(series)[0];
    if (findDisplaySet()) return findDisplaySet();

    // OHIF 3.13 caches the study's metadata under this key.
    const [source] = this.extensions.getActiveDataSource();
    source.deleteStudyMetadataPromise(`${source.getConfig().name}:${study}`);

    const requests = await source.retrieve.series.metadata({
      StudyInstanceUID: study,
      filters: { seriesInstanceUID: [series] },
      madeInClient: false,
      returnPromises: true,
    });

    const added = new Promise(resolve => {
      const { unsubscribe } = displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, () => {
        const displaySet = findDisplaySet();
        if (!displaySet) return;
        unsubscribe();
        resolve(displaySet);
      });
    });

    await Promise.all((requests ?? []).map(request => request.start?.() ?? request));
    return findDisplaySet() ?? added;
  }

  /** Show a SEG over every viewport that shows its source series; the viewports keep their slice and window. */
  async showSegmentation(segmentation) {
    const { segmentationService, userAuthenticationService } = this.services;
    const segmentationId = segmentation.displaySetInstanceUID;

    if (!segmentation.isLoaded || !segmentationService.getSegmentation(segmentationId)) {
      await segmentation.load({ headers: userAuthenticationService.getAuthorizationHeader() });
    }
    for (const viewportId of this.viewportIdsOf(segmentation.referencedDisplaySetInstanceUID)) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: LABELMAP });
    }

    segmentation.isHydrated = true;
    return segmentationId;
  }
}
