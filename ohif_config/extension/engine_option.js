/** An engine in a list of choices; one that is not available says why. */

import { errorText } from './api_client.js';
import { createElement } from './dom.js';

/** Create the option of an engine `{ name, available, reason, hint }` as the API describes it. */
export function createEngineOption({ name, available, reason, hint }, isSelected = false) {
  const text = available ? name : `${name}: not available`;
  return createElement(
    'option',
    {
      value: name,
      disabled: !available,
      selected: available && isSelected,
      title: errorText({ message: reason, hint }),
    },
    text,
  );
}
