import assert from 'node:assert/strict';
import test from 'node:test';

import { Toolbar } from '../../ohif_config/extension/toolbar.js';

/** OHIF's toolbar service as far as it is used: every change calls the listeners. */
class ToolbarService {
  EVENTS = { TOOL_BAR_MODIFIED: 'modified' };
  state = { buttons: {}, buttonSections: {} };
  listeners = new Set();

  subscribe(_event, listener) {
    this.listeners.add(listener);
    return { unsubscribe: () => this.listeners.delete(listener) };
  }

  register(buttons) {
    for (const button of buttons) this.state.buttons[button.id] ??= button;
    this.callListeners();
  }

  updateSection(key, ids) {
    this.state.buttonSections[key] = [...new Set([...(this.state.buttonSections[key] ?? []), ...ids])];
    this.callListeners();
  }

  callListeners() {
    for (const listener of this.listeners) listener();
  }

  getButton(id) {
    return this.state.buttons[id];
  }

  reset() {
    this.state = { buttons: {}, buttonSections: {} };
  }

  refreshToolbarState() {}
}

function createToolbar() {
  const toolbarService = new ToolbarService();
  const opened = [];
  const panelService = { activatePanel: (...args) => opened.push(args) };
  const viewer = { services: { toolbarService, panelService }, getActiveViewport: () => ({ viewportId: 'one' }) };
  const tools = Object.assign(new EventTarget(), {
    activeTool: null,
    toggleTool(name) {
      this.activeTool = name;
    },
  });
  const toolbar = new Toolbar(viewer, tools);
  toolbar.start();
  return { toolbar, toolbarService, tools, opened };
}

test('the tools come behind those of the mode, once, and again after a reset', () => {
  const { toolbarService } = createToolbar();
  assert.deepEqual(toolbarService.state.buttonSections, {});
  for (const mode of [['Zoom', 'Pan'], ['Layout']]) {
    toolbarService.reset();
    toolbarService.updateSection('primary', mode);
    toolbarService.updateSection('primary', mode);
    assert.deepEqual(toolbarService.state.buttonSections.primary, [...mode, 'MinipacsPrompts']);
    assert.equal(toolbarService.state.buttonSections.MinipacsPrompts.length, 3);
  }
});

test('a button activates its tool, opens the panel and is shown as active with the tool', () => {
  const { toolbarService, tools, opened } = createToolbar();
  toolbarService.updateSection('primary', ['Zoom']);
  const [positive, , box] = toolbarService.state.buttonSections.MinipacsPrompts.map(id => toolbarService.getButton(id));
  assert.equal(box.props.evaluate().isActive, false);
  box.props.commands();
  assert.equal(tools.activeTool, box.id);
  assert.equal(box.props.evaluate().isActive, true);
  assert.equal(positive.props.evaluate().isActive, false);
  assert.equal(opened.length, 1);
});

test('a closed study leaves no listeners behind', () => {
  const { toolbar, toolbarService } = createToolbar();
  toolbar.stop();
  toolbarService.updateSection('primary', ['Zoom']);
  assert.deepEqual(toolbarService.state.buttonSections.primary, ['Zoom']);
});
