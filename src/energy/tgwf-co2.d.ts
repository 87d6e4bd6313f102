/** The package ships no types; this is the part of it that `grid.ts` uses. */
declare module '@tgwf/co2/data' {
  export const averageIntensity: {
    readonly data: Readonly<Record<string, number>>;
    readonly type: 'average';
  };
}
