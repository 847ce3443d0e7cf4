/** What we ask of OHIF 3.13: everything that touches its innards stands here. */

const LABELMAP = 'Labelmap';
const OVERLAYS = new Set(['SEG', 'RTSTRUCT', 'SR', 'PR', 'KO']);

export class Viewer {
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
  }

  /** Study Instance UID of the page's address; the first when there are several. */
  get study() {
    const given = new URLSearchParams(window.location.search).getAll('StudyInstanceUIDs').join(',');
    return given.split(',')[0] || null;
  }

  tell(message, type = 'info', title = 'minipacs') {
    this.services.uiNotificationService.show({ title, message, type, duration: type === 'error' ? 10000 : 4000 });
  }

  /** The active viewport: `{ viewportId, viewport, displaySet }` of the image series, or `null`. */
  active() {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    const viewportId = viewportGridService.getActiveViewportId();
    const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const displaySet = this.imagesIn(viewportId);
    return viewport && displaySet ? { viewportId, viewport, displaySet } : null;
  }

  /** The image display set that a viewport shows. */
  imagesIn(viewportId) {
    const { viewportGridService, displaySetService } = this.services;
    const shown = viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
    return shown.map(uid => displaySetService.getDisplaySetByUID(uid)).find(set => set && !OVERLAYS.has(set.Modality));
  }

  /** Whether a viewport has an image on it. */
  isDrawn(viewportId) {
    const viewport = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const [columns, rows] = viewport?.getImageData?.()?.dimensions ?? [0, 0];
    return columns * rows > 0;
  }

  /** The element over which a message may lie: of a viewport, or of the whole grid. */
  placeOf(viewportId) {
    const element = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId)?.element;
    return element?.parentElement ?? document.querySelector('[data-cy="viewport-grid"]');
  }

  /** Viewports that show this display set, by ID. */
  showing(displaySetInstanceUID) {
    const ids = [...this.services.viewportGridService.getState().viewports.keys()];
    return ids.filter(id => this.imagesIn(id)?.displaySetInstanceUID === displaySetInstanceUID);
  }

  /** What an image ID stands for: `{ sopInstanceUid, frame }`, frames counted from 1. */
  imageOf(imageId, core = window.cornerstone) {
    const instance = core.metaData.get('instance', imageId);
    const frame = /\/frames\/(\d+)/.exec(imageId)?.[1] ?? instance.frameNumber ?? 1;
    return { sopInstanceUid: instance.SOPInstanceUID, frame: Number(frame), series: instance.SeriesInstanceUID };
  }

  /** The image of a display set whose plane is nearest to a point (LPS, mm). */
  nearestImage(displaySet, point, core = window.cornerstone) {
    const far = imageId => {
      const plane = core.metaData.get('imagePlaneModule', imageId);
      if (!plane?.imagePositionPatient || !plane.rowCosines) return Infinity;
      const [r, c, p] = [plane.rowCosines, plane.columnCosines, plane.imagePositionPatient];
      const normal = [r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]];
      return Math.abs(normal.reduce((sum, n, i) => sum + n * (point[i] - p[i]), 0));
    };
    const ranked = displaySet.imageIds.map(imageId => [far(imageId), imageId]);
    return ranked.reduce((best, one) => (one[0] < best[0] ? one : best))[1];
  }

  /** The window of a viewport as `[center, width]`, or `null`. */
  window(viewport, core = window.cornerstone) {
    const range = viewport.getProperties?.().voiRange;
    if (!range) return null;
    const { windowCenter, windowWidth } = core.utilities.windowLevel.toWindowLevel(range.lower, range.upper);
    return [windowCenter, windowWidth];
  }

  render() {
    for (const engine of window.cornerstone.getRenderingEngines()) engine.render();
  }

  /** Fetch a series that was stored after the page was opened; its display set. */
  async fetchSeries(study, series) {
    const { displaySetService } = this.services;
    const known = () => displaySetService.getDisplaySetsForSeries(series)[0];
    if (known()) return known();
    const [source] = this.extensions.getActiveDataSource();
    const { name } = source.getConfig();
    source.deleteStudyMetadataPromise(`${name}:${study}`); // 3.13 keeps metadata under this key
    const waiting = await source.retrieve.series.metadata({
      StudyInstanceUID: study,
      filters: { seriesInstanceUID: [series] },
      madeInClient: false,
      returnPromises: true,
    });
    const made = new Promise(resolve => {
      const { unsubscribe } = displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, () => {
        if (known()) {
          unsubscribe();
          resolve(known());
        }
      });
    });
    await Promise.all((waiting ?? []).map(promise => promise.start?.() ?? promise));
    return known() ?? made;
  }

  /** Lay a SEG over every viewport that shows its source series; the viewports stay as they are. */
  async showSegmentation(segmentation) {
    const { segmentationService, userAuthenticationService } = this.services;
    const segmentationId = segmentation.displaySetInstanceUID;
    if (!segmentation.isLoaded || !segmentationService.getSegmentation(segmentationId)) {
      await segmentation.load({ headers: userAuthenticationService.getAuthorizationHeader() });
    }
    for (const viewportId of this.showing(segmentation.referencedDisplaySetInstanceUID)) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: LABELMAP });
    }
    segmentation.isHydrated = true;
    return segmentationId;
  }
}
