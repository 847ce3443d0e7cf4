/**
 * The prompt tools as Cornerstone classes, made from its own: a point is a Probe without text, a box a rectangle
 * without text. They are never removed from Cornerstone.
 */

export const POSITIVE = 'MinipacsPositive';
export const NEGATIVE = 'MinipacsNegative';
export const BOX = 'MinipacsBox';

const COLORS = { [POSITIVE]: 'rgb(80, 230, 120)', [NEGATIVE]: 'rgb(255, 90, 80)', [BOX]: 'rgb(80, 200, 255)' };

/** Register the tools with Cornerstone, once in a page; returns their classes by name. */
export function registerToolClasses({ ProbeTool, RectangleROITool, addTool, annotation }) {
  class PointTool extends ProbeTool {
    constructor(...properties) {
      super(...properties);
      this.addNewAnnotation = undefined; // `addPoint` does it
    }
  }
  const classes = {
    [POSITIVE]: class extends PointTool {
      static toolName = POSITIVE;
    },
    [NEGATIVE]: class extends PointTool {
      static toolName = NEGATIVE;
    },
    [BOX]: class extends RectangleROITool {
      static toolName = BOX;
    },
  };

  const styles = annotation.config.style.getDefaultToolStyles();
  for (const [name, toolClass] of Object.entries(classes)) {
    addTool(toolClass);
    const color = COLORS[name];
    styles[name] = { color, colorHighlighted: color, colorSelected: color, lineWidth: '2', textBoxVisibility: false };
  }
  annotation.config.style.setDefaultToolStyles(styles);
  return classes;
}
