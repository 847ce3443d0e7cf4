/** The prompt tools in OHIF's toolbar, as one list of buttons behind whatever the mode has put there. */

import { BOX, NEGATIVE, POSITIVE } from './tools.js';

const PANEL = 'minipacs.panelModule.segment';
const LIST = 'MinipacsPrompts';
const BUTTONS = [
  [POSITIVE, 'icon-tool-click-segment', 'Segment: positive point'],
  [NEGATIVE, 'tool-point', 'Segment: negative point'],
  [BOX, 'tool-rectangle', 'Segment: box'],
];

export class Toolbar {
  constructor(viewer, tools) {
    Object.assign(this, { viewer, tools });
  }

  /** Add the buttons now, and again when a mode sets its toolbar after us. */
  start() {
    const { toolbarService } = this.viewer.services;
    const refresh = () => {
      const viewportId = this.viewer.active()?.viewportId;
      if (viewportId) toolbarService.refreshToolbarState({ viewportId });
    };
    const { unsubscribe } = toolbarService.subscribe(toolbarService.EVENTS.TOOL_BAR_MODIFIED, () => this.add());
    this.tools.addEventListener('tool', refresh);
    this.stop = () => {
      unsubscribe();
      this.tools.removeEventListener('tool', refresh);
    };
    this.add();
  }

  add() {
    const { toolbarService } = this.viewer.services;
    if (!toolbarService.state.buttonSections.primary?.length || toolbarService.getButton(LIST)) return;
    const buttons = BUTTONS.map(([id, icon, label]) => this.button(id, icon, label));
    toolbarService.register([{ id: LIST, uiType: 'ohif.toolButtonList', props: { buttonSection: true } }, ...buttons]);
    toolbarService.updateSection(LIST, BUTTONS.map(([id]) => id));
    toolbarService.updateSection('primary', [LIST]); // behind the others
  }

  button(id, icon, label) {
    const commands = () => {
      this.tools.choose(id);
      this.viewer.services.panelService.activatePanel(PANEL, true);
    };
    const evaluate = () => {
      const disabled = !this.viewer.active();
      return { disabled, isActive: !disabled && this.tools.active === id };
    };
    return { id, uiType: 'ohif.toolButton', props: { icon, label, tooltip: label, commands, evaluate } };
  }
}
