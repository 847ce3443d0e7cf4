/**
 * The prompts that are drawn in the viewports, as Cornerstone annotations. Points are added here when the button
 * goes down: Cornerstone waits 400 ms for a double click.
 */

import { BOX, NEGATIVE, POSITIVE, registerToolClasses } from './tool_classes.js';

/** A click so near to a point or corner moves that one. */
const HANDLE_RADIUS_PX = 8;
/** While a prompt is moved, `change` is dispatched when it has rested for this long. */
const MOVE_DELAY_MS = 150;
/** OHIF's own tool for the left button. */
const DEFAULT_TOOL = 'WindowLevel';
/** The beginning of the measure "minipacs: click to overlay" in the browser's timeline. */
export const CLICK_MARK = 'minipacs: prompt';

/**
 * The prompts drawn in the viewports. Events: `change` (a prompt was finished, moved or removed), `tool` (another
 * tool is active). `tools` is `window.cornerstoneTools`, `core` is `window.cornerstone`.
 */
export class PromptTools extends EventTarget {
  constructor(viewer, tools = window.cornerstoneTools, core = window.cornerstone) {
    super();
    Object.assign(this, { viewer, tools, core });
    /** Annotation UIDs of the prompts that are no longer being drawn. */
    this.finishedUids = new Set();
    PromptTools.classes ??= registerToolClasses(tools);
    this.removeListeners = this.addListeners();
  }

  get toolNames() {
    return Object.keys(PromptTools.classes);
  }

  /** Listen to Cornerstone and to the mouse. Returns a function that removes the listeners. */
  addListeners() {
    const isPrompt = event => this.toolNames.includes(event.detail.annotation?.metadata.toolName);
    const onCompleted = event => {
      if (!isPrompt(event)) return;
      this.finishedUids.add(event.detail.annotation.annotationUID);
      performance.mark(CLICK_MARK);
      this.announceChange();
    };
    const onModified = event => {
      if (isPrompt(event)) this.announceChange(MOVE_DELAY_MS);
    };
    const onToolActivated = () => this.dispatchEvent(new Event('tool'));
    const onMouseDown = event => this.addPoint(event);

    const { Events } = this.tools.Enums;
    const listeners = [
      [Events.ANNOTATION_COMPLETED, onCompleted],
      [Events.ANNOTATION_MODIFIED, onModified],
      [Events.ANNOTATION_ADDED, onModified],
      [Events.ANNOTATION_REMOVED, onModified],
      [Events.TOOL_ACTIVATED, onToolActivated],
    ];

    const { eventTarget } = this.core;
    for (const [name, listener] of listeners) eventTarget.addEventListener(name, listener);
    document.addEventListener('mousedown', onMouseDown, true);
    return () => {
      for (const [name, listener] of listeners) eventTarget.removeEventListener(name, listener);
      document.removeEventListener('mousedown', onMouseDown, true);
    };
  }

  /** Dispatch `change`, at once or after a delay; a later call replaces one that is still waiting. */
  announceChange(delayMs = 0) {
    clearTimeout(this.changeTimer);
    const announce = () => this.dispatchEvent(new Event('change'));

    if (delayMs) this.changeTimer = setTimeout(announce, delayMs);
    else announce();
  }

  /** Add a point where the left button went down, if a point tool is active there and no prompt is near. */
  addPoint({ target, button, clientX, clientY, shiftKey, ctrlKey, altKey, metaKey }) {
    const element = target.closest?.('[data-viewport-uid]');
    const viewport = element && this.core.getEnabledElement(element)?.viewport;
    if (!viewport || button !== 0 || shiftKey || ctrlKey || altKey || metaKey) return;

    const group = this.viewer.services.toolGroupService.getToolGroupForViewport(viewport.id);
    const name = group?.getActivePrimaryMouseButtonTool();
    if (name !== POSITIVE && name !== NEGATIVE) return;

    const { left, top } = element.getBoundingClientRect();
    const canvasPoint = [clientX - left, clientY - top];
    if (this.annotations.some(annotation => hasHandleNear(annotation, viewport, canvasPoint))) return;

    performance.mark(CLICK_MARK);
    const handles = { points: [viewport.canvasToWorld(canvasPoint)] };
    const annotation = PromptTools.classes[name].createAnnotationForViewport(viewport, { data: { handles } });
    this.tools.annotation.state.addAnnotation(annotation, element);
    this.finishedUids.add(annotation.annotationUID);
    this.tools.utilities.triggerAnnotationRenderForViewportIds([viewport.id]);
    this.dispatchEvent(new Event('change'));
  }

  stop() {
    this.removeListeners();
    clearTimeout(this.changeTimer);
  }

  /** The tool group of the active viewport, with the prompt tools in it, or `null`. */
  getToolGroup() {
    const { viewportId } = this.viewer.getActiveViewport() ?? {};
    const group = viewportId && this.viewer.services.toolGroupService.getToolGroupForViewport(viewportId);
    if (!group) return null;

    for (const name of this.toolNames.filter(one => !group.hasTool(one))) {
      group.addTool(name, { getTextLines: () => null });
      group.setToolPassive(name);
    }
    return group;
  }

  /** The prompt tool that the left button draws with; `null` when it is another tool. */
  get activeTool() {
    const name = this.getToolGroup()?.getActivePrimaryMouseButtonTool();
    return this.toolNames.includes(name) ? name : null;
  }

  /** Draw with this tool; called again, the left button gets its previous tool back. */
  toggleTool(name) {
    const group = this.getToolGroup();
    if (!group) return;

    const current = group.getActivePrimaryMouseButtonTool();
    if (!this.toolNames.includes(current)) this.previousTool = current;

    const toolName = current === name ? (this.previousTool ?? DEFAULT_TOOL) : name;
    this.viewer.commands.runCommand('setToolActive', { toolName, toolGroupId: group.id });
    this.dispatchEvent(new Event('tool'));
  }

  /** Finished annotations, in the order they were drawn. */
  get annotations() {
    const all = this.tools.annotation.state.getAllAnnotations();
    return all.filter(a => this.toolNames.includes(a.metadata.toolName) && this.finishedUids.has(a.annotationUID));
  }

  removeLast() {
    this.remove(this.annotations.slice(-1));
  }

  removeAll() {
    this.remove(this.annotations);
  }

  remove(annotations) {
    for (const { annotationUID } of annotations) this.tools.annotation.state.removeAnnotation(annotationUID);
    this.viewer.renderAll();
    this.dispatchEvent(new Event('change'));
  }
}

/** Whether an annotation on the displayed image has a handle near a point of the canvas. */
function hasHandleNear({ metadata, data }, viewport, [x, y]) {
  const { referencedImageId } = metadata;
  if (referencedImageId && referencedImageId !== viewport.getCurrentImageId?.()) return false;

  const handles = data.handles.points.map(point => viewport.worldToCanvas(point));
  return handles.some(handle => Math.hypot(handle[0] - x, handle[1] - y) < HANDLE_RADIUS_PX);
}

/**
 * Convert an annotation to a prompt as the prompt service takes it (LPS, mm). `findImage(point, imageId)` returns
 * `{ sopInstanceUid, frame }` of the image it was drawn on.
 */
export function toPrompt({ metadata, data }, findImage) {
  const points = data.handles.points.map(point => [...point].map(Number));
  const image = findImage(points[0], metadata.referencedImageId);
  const place = { sop_instance_uid: image.sopInstanceUid, frame: image.frame };

  if (metadata.toolName === BOX) return { box: [points[0], points[3]], ...place };
  return { point: points[0], positive: metadata.toolName === POSITIVE, ...place };
}
