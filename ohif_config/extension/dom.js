/** DOM without a framework: OHIF's React draws one empty box, and we fill it. */

/** An element; `on…` properties are listeners, children are nodes or texts. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== 'list') node[name] = value;
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

/**
 * A React component that is one `div`, filled by `mount(node)`; what that returns is called at the end.
 * A React element is a plain object, so no import of React is needed (which the build does not offer).
 */
export function component(className, mount) {
  let dispose = null;
  const ref = node => {
    dispose?.();
    dispose = node ? mount(node) : null;
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

/** Add our style sheet to the page, once. */
export function dress(address) {
  if (!document.querySelector(`link[href="${address}"]`)) {
    document.head.append(h('link', { rel: 'stylesheet', href: address }));
  }
}
