// Validates AsyncAPI documents with the initiative's own parser; ends with 1 when one has an error.
import { Parser, fromFile } from '@asyncapi/parser';

const severities = ['error', 'warning', 'info', 'hint'];
let broken = 0;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await fromFile(new Parser(), file).parse();
  for (const { severity, code, path, message, range } of diagnostics) {
    console.log(`${file}:${(range?.start?.line ?? 0) + 1}: ${severities[severity]} ${code} ${path.join('.')}: ${message}`);
  }
  if (!document || diagnostics.some(({ severity }) => severity === 0)) broken++;
  else console.log(`${file}: AsyncAPI ${document.version()}, ${document.messages().length} messages`);
}
process.exit(broken ? 1 : 0);
