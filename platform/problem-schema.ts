import { Type } from 'typebox';

/** The body of an error, as both servers describe it. */
export const Problem = Type.Object(
  {
    type: Type.String({ examples: ['urn:serin:error:MODEL_NOT_FOUND'] }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'Names the field, its value and the rule, or what to do next.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({ description: 'Of docs/reference/errors.md.' }),
  },
  { description: 'RFC 9457; further members are the fields of the error.' },
);
