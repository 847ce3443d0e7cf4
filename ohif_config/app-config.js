/* OHIF's configuration, served as /ohif/app-config.js in place of the stock build's. docs/viewer.md gives reasons. */

// Reports use, so that the session lives while somebody works here, and leaves the viewer when it has ended.
import('/static/session_use.js');

window.config = {
  name: 'minipacs',
  routerBasename: window.PUBLIC_URL || '/',
  extensions: [`${window.PUBLIC_URL}extension/index.js`],
  modes: [],
  customizationService: {
    global: {
      'ohif.tours': { $set: [] },
      // OHIF's own "save segmentation" writes a form that highdicom and minipacs can read.
      'segmentation.store.defaultMode': { $set: 'bitmap' },
      'segmentation.store.transferSyntaxUID': { $set: '1.2.840.10008.1.2.1' },
    },
    mode: {
      '*': { rightPanels: { $push: ['minipacs.panelModule.segment'] } },
    },
  },
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  showLoadingIndicator: true,
  showErrorDetails: 'always',
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 20, thumbnail: 5, prefetch: 10 },
  // The login has expired while the viewer was open: log in again and come back.
  httpErrorHandler: error => {
    if (error && error.status === 401) {
      const { pathname, search } = window.location;
      window.location.href = `/login?next=${encodeURIComponent(pathname + search)}`;
    }
  },
  defaultDataSourceName: 'minipacs',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'minipacs',
      configuration: {
        friendlyName: 'minipacs',
        name: 'minipacs',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/dicom-web',
        qidoSupportsIncludeField: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        dicomUploadEnabled: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};
