/** Page elements without a framework: OHIF's React draws one empty box, and the extension fills it. */

/** Create an element. Properties named `on…` are event listeners; children are nodes or texts, and null is left out. */
export function createElement(tag, properties = {}, ...children) {
  const element = document.createElement(tag);

  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== 'list') element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }

  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}

/**
 * Create a React component that is one `div`. `mount(div)` fills it and returns a function that is called when
 * React removes it. A React element is a plain object, so React itself, which the build does not export, is not needed.
 */
export function createReactComponent(className, mount) {
  let unmount = null;
  const ref = div => {
    unmount?.();
    unmount = div ? mount(div) : null;
  };

  const element = {
    $$typeof: Symbol.for('react.element'),
    type: 'div',
    key: null,
    ref,
    props: { className },
    _owner: null,
    _store: {},
  };
  return () => element;
}

/** Add a style sheet to the page, unless it is there. */
export function addStyleSheet(address) {
  if (!document.querySelector(`link[href="${address}"]`)) {
    document.head.append(createElement('link', { rel: 'stylesheet', href: address }));
  }
}
