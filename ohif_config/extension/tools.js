/**
 * Prompt tools made from Cornerstone's own: a point is a Probe without text, a box a rectangle without text.
 * Points are put by us when the button goes down: Cornerstone waits 400 ms for a double click.
 */

export const POSITIVE = 'MinipacsPositive';
export const NEGATIVE = 'MinipacsNegative';
export const BOX = 'MinipacsBox';
const NEAR_PX = 8;
const COLORS = { [POSITIVE]: 'rgb(80, 230, 120)', [NEGATIVE]: 'rgb(255, 90, 80)', [BOX]: 'rgb(80, 200, 255)' };

/** Classes by name, registered with Cornerstone once. */
function register({ ProbeTool, RectangleROITool, addTool, annotation }) {
  class Point extends ProbeTool {
    constructor(...properties) {
      super(...properties);
      this.addNewAnnotation = undefined; // `put` does it
    }
  }
  const made = {
    [POSITIVE]: class extends Point { static toolName = POSITIVE; },
    [NEGATIVE]: class extends Point { static toolName = NEGATIVE; },
    [BOX]: class extends RectangleROITool { static toolName = BOX; },
  };
  const styles = annotation.config.style.getDefaultToolStyles();
  for (const [name, tool] of Object.entries(made)) {
    addTool(tool);
    const color = COLORS[name];
    styles[name] = { color, colorHighlighted: color, colorSelected: color, lineWidth: '2', textBoxVisibility: false };
  }
  annotation.config.style.setDefaultToolStyles(styles);
  return made;
}

/**
 * The prompts drawn in the viewports. `change` is told when one was finished, moved or removed.
 * `tools` is `window.cornerstoneTools`, `core` `window.cornerstone`.
 */
export class PromptTools extends EventTarget {
  constructor(viewer, tools = window.cornerstoneTools, core = window.cornerstone) {
    super();
    Object.assign(this, { viewer, tools, core });
    this.finished = new Set();
    this.chosen = null;
    PromptTools.registered ??= register(tools);
    this.listening = this.listen();
  }

  get names() {
    return Object.keys(PromptTools.registered);
  }

  listen() {
    const { Events } = this.tools.Enums;
    const target = this.core.eventTarget;
    const ours = event => this.names.includes(event.detail.annotation?.metadata.toolName);
    const tell = () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.dispatchEvent(new Event('change')), 150);
    };
    const now = () => {
      clearTimeout(this.soon);
      this.dispatchEvent(new Event('change'));
    };
    const completed = event => {
      if (!ours(event)) return;
      this.finished.add(event.detail.annotation.annotationUID);
      performance.mark('minipacs: prompt');
      now();
    };
    const modified = event => ours(event) && tell();
    const activated = () => this.dispatchEvent(new Event('tool'));
    const pairs = [
      [Events.ANNOTATION_COMPLETED, completed],
      [Events.ANNOTATION_MODIFIED, modified],
      [Events.ANNOTATION_ADDED, modified],
      [Events.ANNOTATION_REMOVED, modified],
      [Events.TOOL_ACTIVATED, activated],
    ];
    const down = event => this.put(event);
    pairs.forEach(([name, work]) => target.addEventListener(name, work));
    document.addEventListener('mousedown', down, true);
    return () => {
      pairs.forEach(([name, work]) => target.removeEventListener(name, work));
      document.removeEventListener('mousedown', down, true);
    };
  }

  /** A point where the left button went down, when a point tool is active there and no prompt is near. */
  put({ target, button, clientX, clientY, shiftKey, ctrlKey, altKey, metaKey }) {
    const element = target.closest?.('[data-viewport-uid]');
    const viewport = element && this.core.getEnabledElement(element)?.viewport;
    if (!viewport || button !== 0 || shiftKey || ctrlKey || altKey || metaKey) return;
    const group = this.viewer.services.toolGroupService.getToolGroupForViewport(viewport.id);
    const name = group?.getActivePrimaryMouseButtonTool();
    if (name !== POSITIVE && name !== NEGATIVE) return;
    const { left, top } = element.getBoundingClientRect();
    const canvas = [clientX - left, clientY - top];
    if (this.annotations.some(annotation => near(annotation, viewport, canvas))) return; // it is moved instead
    performance.mark('minipacs: prompt');
    const handles = { points: [viewport.canvasToWorld(canvas)] };
    const annotation = PromptTools.registered[name].createAnnotationForViewport(viewport, { data: { handles } });
    this.tools.annotation.state.addAnnotation(annotation, element);
    this.finished.add(annotation.annotationUID);
    this.tools.utilities.triggerAnnotationRenderForViewportIds([viewport.id]);
    this.dispatchEvent(new Event('change'));
  }

  stop() {
    this.listening();
    clearTimeout(this.soon);
  }

  /** The group of tools of the active viewport, with ours in it. */
  group() {
    const { viewportId } = this.viewer.active() ?? {};
    const group = viewportId && this.viewer.services.toolGroupService.getToolGroupForViewport(viewportId);
    for (const name of group ? this.names : []) {
      if (!group.hasTool(name)) {
        group.addTool(name, { getTextLines: () => null });
        group.setToolPassive(name);
      }
    }
    return group ?? null;
  }

  /** The prompt tool the left button draws with; `null` when it is another. */
  get active() {
    const name = this.group()?.getActivePrimaryMouseButtonTool();
    return this.names.includes(name) ? name : null;
  }

  /** Draw with this tool; chosen again, the left button goes back to what it did before. */
  choose(name) {
    const group = this.group();
    if (!group) return;
    const now = group.getActivePrimaryMouseButtonTool();
    if (!this.names.includes(now)) this.before = now;
    const next = now === name ? this.before ?? 'WindowLevel' : name;
    this.viewer.commands.runCommand('setToolActive', { toolName: next, toolGroupId: group.id });
    this.dispatchEvent(new Event('tool'));
  }

  /** Finished annotations, in the order they were drawn. */
  get annotations() {
    const all = this.tools.annotation.state.getAllAnnotations();
    return all.filter(a => this.names.includes(a.metadata.toolName) && this.finished.has(a.annotationUID));
  }

  /** Take back the last one. */
  undo() {
    this.remove(this.annotations.slice(-1));
  }

  clear() {
    this.remove(this.annotations);
  }

  remove(annotations) {
    for (const { annotationUID } of annotations) this.tools.annotation.state.removeAnnotation(annotationUID);
    this.viewer.render();
    this.dispatchEvent(new Event('change'));
  }
}

/** Whether a prompt of the image on show has a handle near a place on the canvas. */
function near({ metadata, data }, viewport, [x, y]) {
  if (metadata.referencedImageId && metadata.referencedImageId !== viewport.getCurrentImageId?.()) return false;
  const places = data.handles.points.map(point => viewport.worldToCanvas(point));
  return places.some(place => Math.hypot(place[0] - x, place[1] - y) < NEAR_PX);
}

/** An annotation as the prompt service takes it; `imageOf(point)` names the image nearest to a point. */
export function promptOf({ metadata, data }, imageOf) {
  const points = data.handles.points.map(point => [...point].map(Number));
  const image = imageOf(points[0], metadata.referencedImageId);
  const place = { sop_instance_uid: image.sopInstanceUid, frame: image.frame };
  if (metadata.toolName === BOX) return { box: [points[0], points[3]], ...place };
  return { point: points[0], positive: metadata.toolName === POSITIVE, ...place };
}
