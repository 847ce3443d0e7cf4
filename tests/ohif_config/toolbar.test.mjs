import assert from 'node:assert/strict';
import test from 'node:test';

import { Toolbar } from '../../ohif_config/extension/toolbar.js';

/** OHIF's toolbar service as far as we use it: whoever listens is told of every change. */
class Service {
  EVENTS = { TOOL_BAR_MODIFIED: 'modified' };
  state = { buttons: {}, buttonSections: {} };
  listeners = new Set();

  subscribe(_event, work) {
    this.listeners.add(work);
    return { unsubscribe: () => this.listeners.delete(work) };
  }

  register(buttons) {
    buttons.forEach(button => (this.state.buttons[button.id] ??= button));
    this.listeners.forEach(work => work());
  }

  updateSection(key, ids) {
    this.state.buttonSections[key] = [...new Set([...(this.state.buttonSections[key] ?? []), ...ids])];
    this.listeners.forEach(work => work());
  }

  getButton(id) {
    return this.state.buttons[id];
  }

  reset() {
    this.state = { buttons: {}, buttonSections: {} };
  }

  refreshToolbarState() {}
}

function made() {
  const toolbarService = new Service();
  const opened = [];
  const panelService = { activatePanel: (...given) => opened.push(given) };
  const viewer = { services: { toolbarService, panelService }, active: () => ({ viewportId: 'one' }) };
  const tools = Object.assign(new EventTarget(), { active: null, choose(name) { this.active = name; } });
  const toolbar = new Toolbar(viewer, tools);
  toolbar.start();
  return { toolbar, toolbarService, tools, opened };
}

test('the tools come behind those of the mode, once, and again after a reset', () => {
  const { toolbarService } = made();
  assert.deepEqual(toolbarService.state.buttonSections, {});
  for (const mode of [['Zoom', 'Pan'], ['Layout']]) {
    toolbarService.reset();
    toolbarService.updateSection('primary', mode);
    toolbarService.updateSection('primary', mode);
    assert.deepEqual(toolbarService.state.buttonSections.primary, [...mode, 'MinipacsPrompts']);
    assert.equal(toolbarService.state.buttonSections.MinipacsPrompts.length, 3);
  }
});

test('a button chooses its tool, opens the panel and is lit while the tool is active', () => {
  const { toolbarService, tools, opened } = made();
  toolbarService.updateSection('primary', ['Zoom']);
  const [positive, , box] = toolbarService.state.buttonSections.MinipacsPrompts.map(id => toolbarService.getButton(id));
  assert.equal(box.props.evaluate().isActive, false);
  box.props.commands();
  assert.equal(tools.active, box.id);
  assert.equal(box.props.evaluate().isActive, true);
  assert.equal(positive.props.evaluate().isActive, false);
  assert.equal(opened.length, 1);
});

test('a study that is left takes its listeners along', () => {
  const { toolbar, toolbarService } = made();
  toolbar.stop();
  toolbarService.updateSection('primary', ['Zoom']);
  assert.deepEqual(toolbarService.state.buttonSections.primary, ['Zoom']);
});
