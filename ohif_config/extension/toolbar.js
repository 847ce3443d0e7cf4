/** The prompt tools in OHIF's toolbar: one list of buttons behind those of the mode. */

import { BOX, NEGATIVE, POSITIVE } from './tool_classes.js';

const PANEL = 'minipacs.panelModule.segment';
const BUTTON_LIST = 'MinipacsPrompts';
const BUTTONS = [
  [POSITIVE, 'icon-tool-click-segment', 'Segment: positive point'],
  [NEGATIVE, 'tool-point', 'Segment: negative point'],
  [BOX, 'tool-rectangle', 'Segment: box'],
];

export class Toolbar {
  constructor(viewer, tools) {
    Object.assign(this, { viewer, tools });
  }

  /** Add the buttons now, and again whenever a mode sets its toolbar later. */
  start() {
    const { toolbarService } = this.viewer.services;
    const onToolbarModified = () => this.addButtons();
    const onToolChange = () => {
      const viewportId = this.viewer.getActiveViewport()?.viewportId;
      if (viewportId) toolbarService.refreshToolbarState({ viewportId });
    };

    const { unsubscribe } = toolbarService.subscribe(toolbarService.EVENTS.TOOL_BAR_MODIFIED, onToolbarModified);
    this.tools.addEventListener('tool', onToolChange);
    this.stop = () => {
      unsubscribe();
      this.tools.removeEventListener('tool', onToolChange);
    };

    this.addButtons();
  }

  addButtons() {
    const { toolbarService } = this.viewer.services;
    const hasToolbar = toolbarService.state.buttonSections.primary?.length;
    if (!hasToolbar || toolbarService.getButton(BUTTON_LIST)) return;

    const list = { id: BUTTON_LIST, uiType: 'ohif.toolButtonList', props: { buttonSection: true } };
    const buttons = BUTTONS.map(([id, icon, label]) => this.createButton(id, icon, label));
    toolbarService.register([list, ...buttons]);
    toolbarService.updateSection(
      BUTTON_LIST,
      BUTTONS.map(([id]) => id),
    );
    toolbarService.updateSection('primary', [BUTTON_LIST]);
  }

  createButton(id, icon, label) {
    const commands = () => {
      this.tools.toggleTool(id);
      this.viewer.services.panelService.activatePanel(PANEL, true);
    };
    const evaluate = () => {
      const disabled = !this.viewer.getActiveViewport();
      return { disabled, isActive: !disabled && this.tools.activeTool === id };
    };
    return { id, uiType: 'ohif.toolButton', props: { icon, label, tooltip: label, commands, evaluate } };
  }
}
