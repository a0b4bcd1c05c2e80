/** Definitions as applications have them, written past the proxy: the database alone keeps them in step. */
import { expect, test } from 'vitest';
import { readExamples } from './example.ts';
import { play } from './play.ts';

const examples = await readExamples();

test.for(examples)('$name', { timeout: 300_000 }, (example) =>
  play(example, (database) => database.client(database.app)),
);

test('there are fifty definitions and more, of which few need full_refresh', () => {
  const accepted = examples.flatMap(({ definitions }) =>
    definitions.filter(({ refused }) => refused === null),
  );
  const whole = accepted.filter(({ statement: { fullRefresh } }) => fullRefresh !== undefined);
  expect(examples.length).toBeGreaterThanOrEqual(8);
  expect(accepted.length).toBeGreaterThanOrEqual(50);
  expect(whole.length).toBeLessThan(accepted.length / 10);
});

test('who is refused finds the way out: the definition behind it has the same name, and is accepted', () => {
  for (const { definitions } of examples) {
    for (const { refused, statement } of definitions) {
      if (refused === null) continue;
      expect(refused.wayOut, statement.name).toBeTruthy();
      const others = definitions.filter((other) => other.statement.name === statement.name);
      expect(
        others.some((other) => other.refused === null),
        statement.name,
      ).toBe(true);
    }
  }
});
